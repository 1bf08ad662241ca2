package main

import (
	"context"
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// operatorOptions are the flags of `dotmesh operator`.
type operatorOptions struct {
	namespace  string
	image      string
	kubeconfig string
	health     string
	metrics    string
	etcd       []string
	etcdImage  string
	hosts      []string
	settings   string
}

func newOperatorCommand() *cobra.Command {
	var o operatorOptions
	cmd := &cobra.Command{
		Use:   "operator",
		Short: "Run a server for every node, and what servers need, as the ConfigMap \"configuration\" says",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.config()
			if err != nil {
				return err
			}
			ctrl.SetLogger(klog.Background())
			return logged(cmd.Context(), "operator", o.settings, func(ctx context.Context) error {
				return operator.Run(ctx, cfg)
			})
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func (o *operatorOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.namespace, "namespace", "dotmesh", "the operator's own Kubernetes namespace, where everything of dotmesh is")
	f.StringVar(&o.image, "image", "", "image of servers, holders and node services (default: that of the operator's own pod, $POD_NAME)")
	addSettingsFlag(f, &o.settings)
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach Kubernetes from outside of a pod (default: as the pod's service account)")
	f.StringVar(&o.health, "health-listen", "", "address of /healthz and /readyz (default: none)")
	f.StringVar(&o.metrics, "metrics-listen", "", "address of /metrics (default: none)")
	f.StringSliceVar(&o.etcd, "etcd-endpoints", nil, "URLs of an etcd of yours, whose client certificate is in the Secret dotmesh-etcd-client (default: the operator's own)")
	f.StringVar(&o.etcdImage, "etcd-image", "registry.k8s.io/etcd:v3.7.3", "image of the operator's own etcd")
	f.StringArrayVar(&o.hosts, "host", nil, "name or address that people or other clusters reach the API by; may be repeated")
}

func (o *operatorOptions) config() (operator.Config, error) {
	cfg := operator.Config{
		Namespace: o.namespace, Image: o.image, PodName: os.Getenv("POD_NAME"),
		Etcd: o.etcd, EtcdImage: o.etcdImage, Version: version(),
		HealthAddress: o.health, MetricsAddress: o.metrics, Names: pki.NamesOf(o.hosts),
	}
	for _, endpoint := range o.etcd {
		if u, err := url.Parse(endpoint); err != nil || u.Scheme != "https" || u.Host == "" {
			return cfg, dot.Invalid("--etcd-endpoints: %q is not a URL such as https://etcd.example.com:2379", endpoint)
		}
	}
	kube, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return cfg, fmt.Errorf("how to reach Kubernetes (see --kubeconfig): %w", err)
	}
	cfg.Kubernetes = kube
	return cfg, nil
}
