package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

// etcdSnapshotOptions are the flags of `dotmesh etcd-snapshot`.
type etcdSnapshotOptions struct {
	endpoint      string
	ca, cert, key string
	dir           string
	every         time.Duration
	keep          int
}

func newEtcdSnapshotCommand() *cobra.Command {
	var o etcdSnapshotOptions
	cmd := &cobra.Command{
		Use:   "etcd-snapshot",
		Short: "Keep snapshots of a member of etcd, beside its data",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return members.Snapshots{Endpoint: o.endpoint, TLS: o.tls, Dir: o.dir, Every: o.every, Keep: o.keep}.Run(cmd.Context())
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func (o *etcdSnapshotOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.endpoint, "endpoint", "https://localhost:2379", "client URL of the member")
	f.StringVar(&o.ca, "ca", "", "PEM file of the CA of etcd's certificate")
	f.StringVar(&o.cert, "cert", "", "PEM file of the client certificate; read again for every snapshot")
	f.StringVar(&o.key, "key", "", "PEM file of its key")
	f.StringVar(&o.dir, "dir", "", "directory for the snapshots")
	f.DurationVar(&o.every, "every", 10*time.Minute, "time between two")
	f.IntVar(&o.keep, "keep", 6, "how many are kept")
}

// tls reads the files as they are now.
func (o *etcdSnapshotOptions) tls() (*tls.Config, error) {
	files := map[string][]byte{}
	for name, path := range map[string]string{pki.CAFile: o.ca, pki.CertFile: o.cert, pki.KeyFile: o.key} {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("the certificates for etcd cannot be read: %w", err)
		}
		files[name] = content
	}
	return pki.ClientConfig(files)
}
