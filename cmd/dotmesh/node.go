package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/csi/node"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/host"
)

// nodeOptions are the flags of `dotmesh node`.
type nodeOptions struct {
	endpoint        string
	kubeletEndpoint string
	registrationDir string
	health          string
	nodeName        string
	clusterName     string
	runDir          string
	hostPrefix      string
	timeout         time.Duration
	settingsDir     string
}

func newNodeCommand() *cobra.Command {
	var o nodeOptions
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Serve the CSI node service to kubelet, and watch the fences of this machine's pools",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.config()
			if err != nil {
				return err
			}
			n, err := node.New(cfg)
			if err != nil {
				return err
			}
			return logged(cmd.Context(), "node", o.settingsDir, n.Run)
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func (o *nodeOptions) addFlags(f *pflag.FlagSet) {
	plugin := "/var/lib/kubelet/plugins/" + driver.DriverName + "/csi.sock"
	f.StringVar(&o.endpoint, "endpoint", "unix://"+plugin, "unix socket to serve CSI on")
	f.StringVar(&o.kubeletEndpoint, "kubelet-endpoint", "", "path of that socket as kubelet sees it (default: the same)")
	f.StringVar(&o.registrationDir, "registration-dir", "", "kubelet's directory plugins_registry; without it kubelet is not told")
	f.StringVar(&o.health, "health-listen", "", "address of /healthz, /readyz and /metrics (default: none)")
	f.StringVar(&o.nodeName, "node-name", os.Getenv("NODE_NAME"), "name of this Kubernetes node (default: the host's name)")
	f.StringVar(&o.clusterName, "cluster-name", defaultClusterName, "name of the dotmesh cluster in the topology of volumes; the same for controller and nodes")
	f.StringVar(&o.runDir, "run-dir", "/run/dotmesh", "directory shared with the servers of this machine")
	f.StringVar(&o.hostPrefix, "zfs-host-prefix", "", "where the host's root is mounted, to use the host's ZFS commands")
	f.DurationVar(&o.timeout, "timeout", 2*time.Minute, "bound on calls whose caller sets none")
	addSettingsFlag(f, &o.settingsDir)
}

func (o *nodeOptions) config() (node.Config, error) {
	socket, err := socketPath(o.endpoint)
	if err != nil {
		return node.Config{}, err
	}
	name := o.nodeName
	if name == "" {
		if name, err = os.Hostname(); err != nil {
			return node.Config{}, err
		}
	}
	registration := ""
	if o.registrationDir != "" {
		registration = filepath.Join(o.registrationDir, driver.DriverName+"-reg.sock")
	}
	return node.Config{
		Socket:             socket,
		KubeletSocket:      o.kubeletEndpoint,
		RegistrationSocket: registration,
		HealthAddress:      o.health,
		NodeName:           name,
		ClusterName:        o.clusterName,
		RunDir:             o.runDir,
		Version:            version(),
		Timeout:            o.timeout,
		Fence:              o.fence,
	}, nil
}

// fence looks for ZFS only when it is needed: the node service starts before the
// server that loads the module, and must unmount even where there is none.
func (o *nodeOptions) fence(ctx context.Context, d zfs.Dataset, on bool) error {
	cfg, _, err := host.Host{Root: o.hostPrefix}.Userland(ctx, zfs.Config{})
	if err != nil {
		return err
	}
	c, err := zfs.New(cfg)
	if err != nil {
		return err
	}
	return c.SetReadonly(ctx, d, on)
}
