package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/server"
)

func newServerCommand() *cobra.Command {
	cfg := server.Config{Version: version()}
	size := poolSize{dot.SizeOf(10 << 30)}
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Serve the dots of one pool",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Pool.SizeBytes = size.Bytes()
			if cfg.Pool.Device != "" && !cmd.Flags().Changed("pool-size") {
				cfg.Pool.SizeBytes = 0
			}
			if cfg.NodeName == "" {
				cfg.NodeName, _ = os.Hostname()
			}
			s, err := server.New(cfg)
			if err != nil {
				return err
			}
			return logged(cmd.Context(), "server", cfg.SettingsDir, s.Run)
		},
	}
	addServerFlags(cmd.Flags(), &cfg, &size)
	return cmd
}

func addServerFlags(f *pflag.FlagSet, cfg *server.Config, size *poolSize) {
	f.StringVar(&cfg.NodeName, "node-name", os.Getenv("NODE_NAME"), "name of the Kubernetes node, or host, that this server runs on (default: the host's name)")

	f.StringVar(&cfg.Zone, "zone", "", "zone of that node")

	f.StringVar(&cfg.Pool.Root, "root", "", "an existing pool, or dataset, to keep the dots in, instead of a pool file")
	f.StringVar(&cfg.Pool.Name, "pool-name", "pool", "name of the pool to make or import")
	f.StringVar(&cfg.Pool.Location, "pool-location", "/var/lib/dotmesh", "directory of the pool file")
	f.Var(size, "pool-size", "size of the pool file; raising it grows the pool at the next start. auto: what its file system has")
	f.BoolVar(&cfg.Pool.Sparse, "pool-sparse", false, "do not allocate the pool file: a full host file system then hangs every writer")
	f.StringVar(&cfg.Pool.Device, "pool-device", "", "a block device to keep the pool on, instead of a pool file")
	f.BoolVar(&cfg.Pool.Multihost, "pool-multihost", false, "have ZFS keep two machines from importing the pool at once: for a disk that can move between nodes")
	f.StringVar(&cfg.Pool.Claim, "pool-claim", "", "UID of the PersistentVolumeClaim that the pool lies on")
	f.Uint64Var(&cfg.Pool.Generation, "pool-generation", 0, "which assignment of that claim to a node this server serves, from 1 on; it never serves once a later one has, or this one was released")
	f.BoolVar(&cfg.Pool.TakeOver, "pool-take-over", false, "import, once in this generation, a pool that its last node has not exported: only when that node cannot have the disk any more")

	f.StringSliceVar(&cfg.Etcd.Endpoints, "etcd-endpoints", nil, "URLs of etcd's members")
	f.StringVar(&cfg.Etcd.CA, "etcd-ca", "", "PEM file of the CA of etcd's certificates")
	f.StringVar(&cfg.Etcd.Cert, "etcd-cert", "", "PEM file of our client certificate for etcd")
	f.StringVar(&cfg.Etcd.Key, "etcd-key", "", "PEM file of its key")
	f.StringVar(&cfg.Etcd.Embedded, "embedded-etcd", "", "run an etcd inside the server, with its data in this directory (a single machine)")

	f.StringVar(&cfg.Listen, "listen", ":32607", "address of the API")
	f.StringVar(&cfg.Advertise, "advertise", os.Getenv("POD_IP"), "host, or host:port, where other servers reach the API (default: $POD_IP; none: a server without others)")
	f.StringVar(&cfg.HealthListen, "health-listen", "", "address of /healthz and /readyz over plain HTTP, for kubelet's probes (default: none)")
	f.StringVar(&cfg.TLSCert, "tls-cert", "", "PEM file of the API's certificate and its chain")
	f.StringVar(&cfg.TLSKey, "tls-key", "", "PEM file of its key")
	f.StringVar(&cfg.ClientCA, "client-ca", "", "PEM file of the CA of other servers' client certificates")
	f.StringVar(&cfg.PeerName, "peer-name", "dotmesh.dotmesh.svc", "DNS name in the certificates of other servers: that of the Service")
	f.StringVar(&cfg.SecretDir, "secret-dir", "", "directory with dotmesh-api-key.txt and dotmesh-admin-password.txt, as the Secret \"dotmesh\" is mounted")
	addSettingsFlag(f, &cfg.SettingsDir)

	f.StringVar(&cfg.RunDir, "run-dir", "/run/dotmesh", "directory shared with the node service")
	f.StringVar(&cfg.HostPrefix, "zfs-host-prefix", "", "where the host's root is mounted, to use the host's ZFS commands and modules")
	f.BoolVar(&cfg.Recover, "recover", false, "add what the pool holds to a registry that is empty, or that does not know the pool, then serve")
}
