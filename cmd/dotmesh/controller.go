package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/csi/controller"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// controllerOptions are the flags of `dotmesh controller`.
type controllerOptions struct {
	endpoint          string
	health            string
	clusterName       string
	server            string
	ca                string
	fingerprint       string
	secretDir         string
	user              string
	timeout           time.Duration
	kubeconfig        string
	withoutKubernetes bool
	settingsDir       string
}

func newControllerCommand() *cobra.Command {
	var o controllerOptions
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Serve the CSI controller service to the sidecars of Kubernetes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.config()
			if err != nil {
				return err
			}
			c, err := controller.New(cfg)
			if err != nil {
				return err
			}
			return logged(cmd.Context(), "controller", o.settingsDir, c.Run)
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func (o *controllerOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.endpoint, "endpoint", "unix:///csi/csi.sock", "unix socket to serve CSI on")
	f.StringVar(&o.health, "health-listen", "", "address of /healthz, /readyz and /metrics (default: none)")
	f.StringVar(&o.clusterName, "cluster-name", defaultClusterName, "name of the dotmesh cluster in the topology of volumes; the same for controller and nodes")
	f.StringVar(&o.server, "server", "", "address of a dotmesh server, host[:port]")
	f.StringVar(&o.ca, "ca", "", "PEM file of the CA of the servers' certificates")
	f.StringVar(&o.fingerprint, "fingerprint", "", "SHA-256 of the server's, or its CA's, key, instead of --ca")
	f.StringVar(&o.secretDir, "secret-dir", "", "directory with dotmesh-api-key.txt, as the Secret \"dotmesh\" is mounted")
	f.StringVar(&o.user, "user", "admin", "user whose API key that is")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "bound on calls whose caller sets none")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach Kubernetes from outside of a pod (default: as the pod's service account)")
	f.BoolVar(&o.withoutKubernetes, "without-kubernetes", false, "serve callers that tell of no PVC")
	addSettingsFlag(f, &o.settingsDir)
}

func (o *controllerOptions) config() (controller.Config, error) {
	var cfg controller.Config
	socket, err := socketPath(o.endpoint)
	if err != nil {
		return cfg, err
	}
	servers, err := o.client()
	if err != nil {
		return cfg, err
	}
	cfg = controller.Config{
		Socket:        socket,
		HealthAddress: o.health,
		Version:       version(),
		ClusterName:   o.clusterName,
		Timeout:       o.timeout,
		Volumes:       servers.Volumes,
		Server:        servers.Server,
	}
	if o.withoutKubernetes {
		return cfg, nil
	}
	kube, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return cfg, fmt.Errorf("how to reach Kubernetes (see --kubeconfig and --without-kubernetes): %w", err)
	}
	cfg.Kubernetes, err = controller.NewKubernetes(kube)
	return cfg, err
}

// client follows changes of the key's file, which Kubernetes makes when the
// Secret changes.
func (o *controllerOptions) client() (*client.Client, error) {
	if o.server == "" {
		return nil, dot.Invalid("--server is missing: the address of a dotmesh server")
	}
	trust, err := o.trust()
	if err != nil {
		return nil, err
	}
	if o.secretDir == "" {
		return nil, dot.Invalid("--secret-dir is missing: it holds the API key for calls to the server")
	}
	key := filepath.Join(o.secretDir, "dotmesh-api-key.txt")
	return client.New(client.Config{
		Address: o.server,
		Trust:   trust,
		User:    o.user,
		Timeout: o.timeout,
		APIKey: func() (string, error) {
			b, err := os.ReadFile(key)
			return strings.TrimSpace(string(b)), err
		},
	})
}

// trust wants exactly one of the two ways to know the server.
func (o *controllerOptions) trust() (client.Trust, error) {
	switch {
	case o.ca != "" && o.fingerprint != "":
		return client.Trust{}, dot.Invalid("give --ca or --fingerprint, not both")
	case o.ca != "":
		trust, err := client.TrustCAFile(o.ca)
		if err != nil {
			return trust, fmt.Errorf("--ca: %w", err)
		}
		return trust, nil
	case o.fingerprint != "":
		pin, err := client.ParseFingerprint(o.fingerprint)
		if err != nil {
			return client.Trust{}, fmt.Errorf("--fingerprint: %w", err)
		}
		return client.Trust{Fingerprint: pin}, nil
	}
	return client.Trust{}, dot.Invalid("nothing says which server to trust: give --ca or --fingerprint")
}

// defaultClusterName is right wherever there is one dotmesh cluster.
const defaultClusterName = "dotmesh"

// socketPath reads "unix:///path" or a path.
func socketPath(endpoint string) (string, error) {
	path := strings.TrimPrefix(endpoint, "unix://")
	if !filepath.IsAbs(path) {
		return "", dot.Invalid("--endpoint %q is not unix:///an/absolute/path", endpoint)
	}
	return filepath.Clean(path), nil
}
