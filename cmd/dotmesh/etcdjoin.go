package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

// etcdJoinOptions are the flags of `dotmesh etcd-join`.
type etcdJoinOptions struct {
	join     members.Join
	tls      etcdTLS
	state    string
	settings string
	look     bool
}

func newEtcdJoinCommand() *cobra.Command {
	var o etcdJoinOptions
	cmd := &cobra.Command{
		Use:   "etcd-join",
		Short: "Wait until a member of etcd may be started on its directory",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.look:
				return logged(cmd.Context(), cmd.Name(), o.settings, o.join.Look)
			case o.state == "new": // there is nobody to ask
				return nil
			case o.state == "existing":
				o.join.TLS = o.tls.read
				return logged(cmd.Context(), cmd.Name(), o.settings, o.join.Wait)
			}
			return dot.Invalid("--state %q is neither new nor existing", o.state)
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func (o *etcdJoinOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.join.DataDir, "data-dir", "", "the member's directory, as etcd is given it")
	f.StringVar(&o.join.PeerURL, "peer-url", "", "what the other members reach it by")
	f.StringSliceVar(&o.join.Endpoints, "endpoints", nil, "client URLs of the cluster")
	f.StringVar(&o.state, "state", "", "as etcd's --initial-cluster-state: of a new cluster nobody is asked")
	f.BoolVar(&o.look, "look", false, "only look whether there is data, and end when that is known: on a disk that does not answer, never")
	o.tls.addFlags(f)
	addSettingsFlag(f, &o.settings)
}
