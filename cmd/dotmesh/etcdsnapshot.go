package main

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

// etcdSnapshotOptions are the flags of `dotmesh etcd-snapshot`.
type etcdSnapshotOptions struct {
	endpoint string
	tls      etcdTLS
	dir      string
	every    time.Duration
	keep     int
	settings string
}

func newEtcdSnapshotCommand() *cobra.Command {
	var o etcdSnapshotOptions
	cmd := &cobra.Command{
		Use:   "etcd-snapshot",
		Short: "Keep snapshots of a member of etcd, beside its data",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return logged(cmd.Context(), cmd.Name(), o.settings,
				members.Snapshots{Endpoint: o.endpoint, TLS: o.tls.read, Dir: o.dir, Every: o.every, Keep: o.keep}.Run)
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func (o *etcdSnapshotOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.endpoint, "endpoint", "https://localhost:2379", "client URL of the member")
	o.tls.addFlags(f)
	f.StringVar(&o.dir, "dir", "", "directory for the snapshots")
	f.DurationVar(&o.every, "every", 10*time.Minute, "time between two")
	f.IntVar(&o.keep, "keep", 6, "how many are kept")
	addSettingsFlag(f, &o.settings)
}
