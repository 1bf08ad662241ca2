package settings

import (
	"context"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// Name is the user's ConfigMap. The operator's is specs.SettingsName.
const Name = specs.ConfigurationName

// callTimeout bounds one look at the ConfigMaps, a few small calls of the API server, once
// nobody uses the configuration.
const callTimeout = 30 * time.Second

// again is when the ConfigMaps are looked at without anything having happened to
// them: a change that was refused because pools exist may be good once they do not.
const again = time.Minute

// Events tells people of an object.
type Events interface {
	Warning(on *corev1.ObjectReference, reason, note string)
	Normal(on *corev1.ObjectReference, reason, note string)
}

// Config is what Settings need.
type Config struct {
	Client client.Writer
	// Live reads from the API server, not from a cache, which may be behind.
	Live      client.Reader
	Namespace string
	Events    Events
	// LargestPool is the size in bytes of the largest pool in a file of a node; false
	// while servers that have one have not told.
	LargestPool func() (int64, bool)
	// Changed is called after another configuration came into force.
	Changed func()
	Now     func() time.Time
}

// Settings know the configuration that is in force.
type Settings struct {
	cfg Config

	// gate is held for writing from when pools are looked for until another
	// configuration is in force, so that none is made by the old one meanwhile.
	gate gate
	// latest is replaced by whoever holds gate for writing. It can be read without:
	// metrics and etcd need not wait for a round.
	latest atomic.Pointer[state]
}

// state is what came of the last look at the ConfigMaps. It is not changed.
type state struct {
	inForce *config.Config // nil while there is none
	refused []config.Remark
	missing bool
}

// New makes Settings that know nothing yet.
func New(cfg Config) *Settings {
	s := &Settings{cfg: cfg, gate: newGate()}
	s.latest.Store(&state{})
	return s
}

// Use calls f with the configuration in force, which stays in force until f
// returns. Without one yet, as before there is a ConfigMap, or where no last good one
// can be told, f is not called.
func (s *Settings) Use(ctx context.Context, f func(config.Config) error) error {
	leave, err := s.gate.read(ctx)
	if err != nil {
		return err
	}
	defer leave()
	inForce, known := s.InForce()
	if !known {
		return nil
	}
	return f(inForce)
}

// InForce is the configuration in force; false while there is none. Another may be in
// force by the time that it is used.
func (s *Settings) InForce() (config.Config, bool) {
	c := s.latest.Load().inForce
	if c == nil {
		return config.Config{}, false
	}
	return *c, true
}

// Refused are the problems for which the ConfigMap is not what is in force.
func (s *Settings) Refused() []config.Remark { return s.latest.Load().refused }

// Missing tells whether the user's ConfigMap was not there.
func (s *Settings) Missing() bool { return s.latest.Load().missing }

// SetupWithManager has mgr call Reconcile at the start and for every change of
// either ConfigMap.
func (s *Settings) SetupWithManager(mgr ctrl.Manager) error {
	request := reconcile.Request{NamespacedName: client.ObjectKey{Namespace: s.cfg.Namespace, Name: Name}}
	ours := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetNamespace() == s.cfg.Namespace && (o.GetName() == Name || o.GetName() == specs.SettingsName)
	})
	return ctrl.NewControllerManagedBy(mgr).Named("settings").
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
			return []reconcile.Request{request}
		}), builder.WithPredicates(ours)).
		WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			queue.Add(request)
			return nil
		})).
		Complete(s)
}

// Reconcile takes what the ConfigMap says, or tells why not.
func (s *Settings) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	changed, err := s.follow(ctx)
	if changed {
		s.cfg.Changed()
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: again}, nil
}
