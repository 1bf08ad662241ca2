package pools

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

const (
	// every is how often the cluster is observed without anything having told of a
	// change: what servers say changes silently.
	every = 10 * time.Second
	// soon is when to look again after something was done, or met a conflict.
	soon = time.Second
	// roundTimeout bounds one round: the servers are asked at once, and actions are
	// single calls but for releases.
	roundTimeout = 3 * time.Minute
)

// Settings know the configuration in force, which stays until f returns.
type Settings interface {
	Use(ctx context.Context, f func(config.Config) error) error
}

// Events tells people of an object.
type Events interface {
	Warning(on *corev1.ObjectReference, reason, note string)
}

// Reporter is called with every round.
type Reporter interface {
	Observed(ctx context.Context, o Observation)
	Failed(action string)
}

// Config is what Pools need.
type Config struct {
	// Client may read from a cache.
	Client client.Client
	// Live reads from the API server: for what must not be behind.
	Live client.Reader
	// Cluster lacks the Owner, which is observed.
	Cluster  specs.Cluster
	Settings Settings
	Servers  Servers
	Events   Events
	Reporter Reporter
	// Missing tells what servers need that is not there, "" for nothing.
	Missing func(ctx context.Context) (string, error)
	// OnServersCameUp is called when ServersCameUp becomes true.
	OnServersCameUp func()
	Now             func() time.Time
	// Hook is passed after every action.
	Hook crash.Hook
}

// Pools is the reconciler. Reconcile, and Round, are called by one goroutine at a time, as
// controller-runtime does; Largest and ServersCameUp by any.
type Pools struct {
	cfg           Config
	seen          *seen
	sizes         sizes
	serversCameUp atomic.Bool
	// missing are the nodes that were not there at the last observation, and since when:
	// by the operator's own clock, and without interruption.
	missing map[string]time.Time
}

// New makes Pools that have asked no server yet.
func New(cfg Config) *Pools { return &Pools{cfg: cfg, seen: newSeen(cfg.Servers, cfg.Now)} }

// Observation is what a round saw.
type Observation struct {
	State    plan.State
	Statuses map[string]Status // by server pod, of those that have answered
}

// Reconcile does a round.
func (p *Pools) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	done, err := p.Round(ctx)
	switch {
	case err != nil:
		return reconcile.Result{}, err
	case done:
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	return reconcile.Result{RequeueAfter: every}, nil
}

// Round observes, and does what can be done; it tells whether something was, or
// whether the cluster has moved meanwhile, so that there may be more to do.
func (p *Pools) Round(ctx context.Context) (done bool, err error) {
	err = p.cfg.Settings.Use(ctx, func(c config.Config) error {
		o, err := p.observe(ctx, c)
		if err != nil || o.State.Cluster.Owner == "" {
			return err
		}
		p.sizes.note(o.State, o.Statuses)
		p.noteServers(o.State)
		p.cfg.Reporter.Observed(ctx, o)
		actions, err := p.allowed(ctx, plan.Next(o.State))
		if err != nil {
			return err
		}
		done, err = p.apply(ctx, o.State, actions)
		return err
	})
	return done, err
}

// ServersCameUp is plan.ServersCameUp at the last round; false before the first.
func (p *Pools) ServersCameUp() bool { return p.serversCameUp.Load() }

func (p *Pools) noteServers(s plan.State) {
	done := plan.ServersCameUp(s)
	if before := p.serversCameUp.Swap(done); done && !before {
		p.cfg.OnServersCameUp()
	}
}

// allowed are the actions without those that make servers, while these would wait in
// vain for a Secret.
func (p *Pools) allowed(ctx context.Context, actions []plan.Action) ([]plan.Action, error) {
	missing, err := p.cfg.Missing(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for what servers need: %w", err)
	}
	if missing == "" {
		return actions, nil
	}
	klog.FromContext(ctx).Info("no server is made", "reason", missing)
	return slices.DeleteFunc(actions, func(a plan.Action) bool {
		switch a.(type) {
		case plan.CreateServer, plan.LabelNode, plan.CreatePVC: // what makes, or promises, a pool
			return true
		}
		return false
	}), nil
}

// apply does all actions, and goes on after one that fails.
func (p *Pools) apply(ctx context.Context, s plan.State, actions []plan.Action) (done bool, err error) {
	logger := klog.FromContext(ctx)
	var failed []error
	for _, a := range actions {
		outcome := p.do(ctx, s, a)
		refused := errors.Is(outcome, errRefused)
		if _, warning := a.(plan.Warn); !warning {
			done = done || !refused
			logger.Info("did", "action", a.String(), "outcome", outcome)
		}
		p.cfg.Hook.Pass(ctx, pointOf(a))
		if outcome != nil && !refused && !isMoved(outcome) {
			p.cfg.Reporter.Failed(fmt.Sprintf("%T", a))
			failed = append(failed, fmt.Errorf("%s: %w", a, outcome))
		}
	}
	return done, errors.Join(failed...)
}
