package operator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/certs"
	operatorconfig "github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/etcd"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/nodeservice"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/pools"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/report"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/settings"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/upgrades"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

const (
	// name is that of the Lease that the operator at work holds.
	name = "dotmesh-operator"
	// container is the operator's, in its own pod.
	container = "operator"

	startTimeout = time.Minute
	startRetry   = 2 * time.Second
	syncTimeout  = time.Second

	// The Lease outlasts an API server that stands still for a while; an operator that
	// ends gives it back at once.
	leaseDuration = 45 * time.Second
	renewDeadline = 30 * time.Second
	retryPeriod   = 5 * time.Second
)

// Config says where the operator runs and what it makes.
type Config struct {
	Kubernetes *rest.Config
	// Namespace is the operator's own, where everything of dotmesh is.
	Namespace string
	// Image is what servers, holders and node services run; "" means that of the
	// pod PodName, with its pull policy.
	Image   string
	PodName string
	// Etcd are the URLs of the user's etcd, the certificate towards which is then the
	// user's too; none: one of the operator's own, which runs EtcdImage.
	Etcd      []string
	EtcdImage string
	// Version is the operator's own.
	Version string
	// Names are more names and addresses that people and other clusters reach the API
	// by.
	Names pki.Names
	// HealthAddress and MetricsAddress are host:port; "" means none.
	HealthAddress, MetricsAddress string

	// Servers reach the servers; nil: over their API.
	Servers pools.Servers
	// Registry is where metrics are registered; nil: where MetricsAddress shows them.
	Registry prometheus.Registerer
}

// Run works until ctx ends, or until another operator has taken the Lease.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Namespace == "" {
		return dot.Invalid("the operator does not know its namespace: give --namespace")
	}
	cluster, err := clusterOf(ctx, cfg)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return fmt.Errorf("kinds of objects: %w", err)
	}
	mgr, err := ctrl.NewManager(cfg.Kubernetes, cfg.managerOptions(ctx, scheme))
	if err != nil {
		return fmt.Errorf("reach Kubernetes: %w", err)
	}
	if err := addChecks(mgr); err != nil {
		return err
	}
	if err := setup(ctx, cfg, mgr, cluster); err != nil {
		return fmt.Errorf("set up the operator: %w", err)
	}
	return mgr.Start(ctx)
}

func (cfg Config) managerOptions(ctx context.Context, scheme *runtime.Scheme) ctrl.Options {
	shown := cfg.MetricsAddress
	if shown == "" {
		shown = "0"
	}
	anyName, lease, renew, retry := true, leaseDuration, renewDeadline, retryPeriod
	return ctrl.Options{
		Scheme: scheme,
		Logger: klog.FromContext(ctx),
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{cfg.Namespace: {}},
			DefaultTransform:  cache.TransformStripManagedFields(),
		},
		LeaderElection:                true,
		LeaderElectionID:              name,
		LeaderElectionNamespace:       cfg.Namespace,
		LeaderElectionReleaseOnCancel: true, // the process ends when Start returns
		LeaseDuration:                 &lease,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &retry,
		Metrics:                       metricsserver.Options{BindAddress: shown},
		HealthProbeBindAddress:        cfg.HealthAddress,
		Controller:                    config.Controller{SkipNameValidation: &anyName},
	}
}

// addChecks answers /healthz while the process does, and /readyz once its view of
// the cluster is complete.
func addChecks(mgr ctrl.Manager) error {
	return errors.Join(
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("cache", func(r *http.Request) error {
			ctx, cancel := context.WithTimeout(r.Context(), syncTimeout)
			defer cancel()
			if !mgr.GetCache().WaitForCacheSync(ctx) {
				return errors.New("the cluster was not read completely yet")
			}
			return nil
		}),
	)
}

// setup makes the concerns and binds them.
func setup(ctx context.Context, cfg Config, mgr ctrl.Manager, cluster specs.Cluster) error {
	kube, err := kubernetes.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return err
	}
	events := report.NewEvents(ctx, kube, mgr.GetScheme())
	wakePools, wakeNodes := newWaker(), newWaker()
	var p *pools.Pools
	s := settings.New(settings.Config{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespace: cfg.Namespace, Events: events, Now: time.Now,
		LargestPool: func() (int64, bool) { return p.Largest() },
		Changed: func() {
			wakePools.wake()
			wakeNodes.wake()
		},
	})
	registry := cfg.Registry
	if registry == nil {
		registry = metrics.Registry
	}
	m, err := report.NewMetrics(registry, s)
	if err != nil {
		return err
	}
	servers := cfg.Servers
	if servers == nil {
		servers = pools.NewAPI(mgr.GetClient(), client.ObjectKey{Namespace: cfg.Namespace, Name: pki.SecretOperatorClient}, "dotmesh."+cfg.Namespace+".svc")
	}
	c := &certs.Reconciler{
		Client: mgr.GetClient(), Events: events, Namespace: cfg.Namespace,
		Extra: cfg.Names, ExternalEtcd: len(cfg.Etcd) > 0, Now: time.Now,
	}
	p = pools.New(pools.Config{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Cluster: cluster, Settings: s, Servers: servers,
		Events: events, Reporter: report.New(mgr.GetClient(), events, m), Missing: c.Missing, OnServersCameUp: wakeNodes.wake, Now: time.Now,
	})
	if len(cfg.Etcd) == 0 {
		if err := addEtcd(cfg, mgr, cluster, s, p.ServersCameUp, events, registry); err != nil {
			return err
		}
	}
	return errors.Join(
		s.SetupWithManager(mgr),
		c.SetupWithManager(mgr),
		p.SetupWithManager(mgr, wakePools),
		nodeservice.New(mgr.GetClient(), cluster, s, p.ServersCameUp).SetupWithManager(mgr, wakeNodes),
		addUpgrades(mgr, cfg.Version, s, registry),
	)
}

// addUpgrades asks for newer versions while this operator is the one that works.
func addUpgrades(mgr ctrl.Manager, version string, s *settings.Settings, registry prometheus.Registerer) error {
	checker := upgrades.New(upgrades.Config{
		Version: version, Current: s.InForce, Changed: s.SetNewerVersion,
		Nodes: func() int {
			var nodes corev1.NodeList
			if err := mgr.GetClient().List(context.Background(), &nodes, client.HasLabels{specs.LabelServer}); err != nil {
				return 0
			}
			return len(nodes.Items)
		},
	})
	return errors.Join(registry.Register(checker), mgr.Add(checker))
}

// addEtcd runs the operator's own etcd.
func addEtcd(cfg Config, mgr ctrl.Manager, cluster specs.Cluster, s *settings.Settings, serversCameUp func() bool, events *report.Events, registry prometheus.Registerer) error {
	m, err := etcd.NewMetrics(registry)
	if err != nil {
		return err
	}
	r := &etcd.Reconciler{
		Client: mgr.GetClient(), Events: events, Metrics: m,
		Spec: etcd.Spec{Namespace: cfg.Namespace, Image: cfg.EtcdImage, Dotmesh: cluster.Image},
		Config: func(context.Context) (operatorconfig.Config, bool, error) {
			inForce, known := s.InForce()
			return inForce, known, nil
		},
		ServersCameUp: serversCameUp, Now: time.Now,
	}
	return r.SetupWithManager(mgr)
}

// waker has a reconciler work; any number of wakes before it does are one.
type waker chan event.GenericEvent

func newWaker() waker { return make(waker, 1) }

func (w waker) wake() {
	select {
	case w <- event.GenericEvent{Object: &corev1.ConfigMap{}}:
	default:
	}
}

// clusterOf finds the image in the operator's own pod, so that an upgrade of the
// Deployment is one of everything.
func clusterOf(ctx context.Context, cfg Config) (specs.Cluster, error) {
	cluster := specs.Cluster{Namespace: cfg.Namespace, Image: cfg.Image, Etcd: cfg.Etcd}
	if len(cfg.Etcd) == 0 {
		cluster.Etcd = etcd.Endpoints(cfg.Namespace)
	}
	if cfg.Image != "" {
		return cluster, nil
	}
	if cfg.PodName == "" {
		return cluster, dot.Invalid("the operator does not know which image to run: give --image, or $POD_NAME for that of its own pod")
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	pod, err := ownPod(ctx, cfg)
	if err != nil {
		return cluster, fmt.Errorf("read the operator's own pod for its image: %w", err)
	}
	for _, own := range pod.Spec.Containers {
		if own.Name == container {
			cluster.Image, cluster.ImagePullPolicy = own.Image, own.ImagePullPolicy
			return cluster, nil
		}
	}
	return cluster, dot.Invalid("pod %s has no container %q to know the image of: give --image", cfg.PodName, container)
}

// ownPod tries again while Kubernetes cannot be reached: a pod may run before its
// network does.
func ownPod(ctx context.Context, cfg Config) (corev1.Pod, error) {
	var pod corev1.Pod
	for {
		c, err := client.New(cfg.Kubernetes, client.Options{})
		if err == nil {
			err = c.Get(ctx, client.ObjectKey{Namespace: cfg.Namespace, Name: cfg.PodName}, &pod)
		}
		if err == nil || apierrors.ReasonForError(err) != metav1.StatusReasonUnknown {
			return pod, err
		}
		klog.FromContext(ctx).Info("Kubernetes cannot be reached yet", "reason", err.Error())
		select {
		case <-ctx.Done():
			return pod, err
		case <-time.After(startRetry):
		}
	}
}
