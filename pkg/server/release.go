package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"connectrpc.com/connect"
	"k8s.io/klog/v2"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

const (
	// drainTimeout is how long a release waits for the calls that are under way.
	drainTimeout = 30 * time.Second
	// releaseTimeout bounds all of it.
	releaseTimeout = 5 * time.Minute
)

// errReleased ends what serves the pool, and not the process.
var errReleased = dot.Unavailable("this server serves no pool any more: %w", pool.ErrReleased)

// tenure is the time in which this server has its pool: from when it has opened it
// until it has released it, or the process ends.
type tenure struct {
	plane    *plane
	onPool   context.Context // of all that works on the pool by itself
	leave    context.CancelFunc
	within   *sync.WaitGroup // of the process
	working  sync.WaitGroup
	exported chan struct{} // closed then
	lapsed   chan struct{} // closed when the lease was given up
}

// beginTenure begins to keep the pool's lease, which is given up when the pool was
// exported, or with the process.
func beginTenure(inside context.Context, within *sync.WaitGroup, p *plane) *tenure {
	t := &tenure{plane: p, within: within, exported: make(chan struct{}), lapsed: make(chan struct{})}
	t.onPool, t.leave = context.WithCancel(inside)
	t.working.Add(1)
	within.Go(func() {
		defer close(t.lapsed)
		p.lease.run(t.onPool)
		t.working.Done()
		select {
		case <-inside.Done():
		case <-t.exported:
		}
		p.lease.giveUp(inside)
	})
	return t
}

// work runs what works on the pool.
func (t *tenure) work(run func(context.Context)) {
	t.working.Add(1)
	t.within.Go(func() { defer t.working.Done(); run(t.onPool) })
}

// end has everything that works on the pool end.
func (t *tenure) end(ctx context.Context) error {
	t.leave()
	ended := make(chan struct{})
	go func() { defer close(ended); t.working.Wait() }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return dot.Unavailable("what works on the pool in the background does not end: %w", ctx.Err())
	}
}

// releaseCall asks the goroutine that serves the pool to release it.
type releaseCall chan releaseAnswer

type releaseAnswer struct {
	response *v1.ReleaseResponse
	err      error
}

// release asks for the pool to be released, and waits for the answer.
func (s *Server) release(ctx context.Context, req *v1.ReleaseRequest) (*v1.ReleaseResponse, error) {
	if own := s.assignment.Generation; req.Generation != own {
		return &v1.ReleaseResponse{Reason: fmt.Sprintf("this server is of generation %d and not of %d", own, req.Generation)}, nil
	}
	call := make(releaseCall, 1)
	if s.isReleased() {
		return &v1.ReleaseResponse{Released: true}, nil
	}
	if _, err := s.ready(); err != nil {
		return &v1.ReleaseResponse{Reason: err.Error()}, nil
	}
	select {
	case s.releases <- call:
	case <-s.released:
		return &v1.ReleaseResponse{Released: true}, nil
	case <-ctx.Done():
		return nil, dot.Unavailable("the pool is being released: %w", ctx.Err())
	}
	select {
	case answer := <-call:
		return answer.response, answer.err
	case <-ctx.Done():
		return nil, dot.Unavailable("the pool is being released: %w", ctx.Err())
	}
}

func (s *Server) isReleased() bool {
	select {
	case <-s.released:
		return true
	default:
		return false
	}
}

// attend releases the pool for who asks, and ends with errReleased when that is done,
// or with why this server cannot go on.
func (s *Server) attend(ctx context.Context, t *tenure) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-t.plane.lease.failed:
			return err
		case call := <-s.releases:
			bounded, cancel := context.WithTimeout(ctx, releaseTimeout)
			refusal, err := s.letGo(bounded, t)
			cancel()
			switch {
			case err != nil:
				call <- releaseAnswer{err: err}
				return err
			case refusal != nil:
				call <- releaseAnswer{response: refusal}
			default:
				call <- releaseAnswer{response: &v1.ReleaseResponse{Released: true}}
				return errReleased
			}
		}
	}
}

// letGo exports the pool unless something uses it, which refusal then tells. After an
// error this process does not know what it has, and ends; the next one finds out.
func (s *Server) letGo(ctx context.Context, t *tenure) (refusal *v1.ReleaseResponse, err error) {
	p := t.plane
	if s.own == nil {
		return &v1.ReleaseResponse{Reason: "the pool was given to this server with --root, and is not its own to export"}, nil
	}
	if refusal := p.refuseInUse(ctx); refusal != nil {
		return refusal, nil
	}
	draining, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if err := s.gate.close(draining, dot.Unavailable("this server lets go of its pool: another may serve it; try again")); err != nil {
		return &v1.ReleaseResponse{Reason: err.Error()}, nil
	}
	// One of those calls may have let a pod use it.
	if refusal := p.refuseInUse(ctx); refusal != nil {
		s.gate.open()
		return refusal, nil
	}
	klog.FromContext(ctx).Info("releasing the pool", "pool", p.pool)
	s.waitFor(errReleased)
	s.plane.Store(nil)
	if err := t.end(ctx); err != nil {
		return nil, err
	}
	if err := p.engine.Fence(ctx, true); err != nil {
		return nil, err
	}
	if err := s.finishRelease(ctx, p.store, *s.own, p.pool); err != nil {
		return nil, err
	}
	close(t.exported)
	<-t.lapsed // bounded by giveUp
	return nil, nil
}

// refuseInUse tells who uses the pool; nil when nobody does, as far as the registry
// can tell.
func (p *plane) refuseInUse(ctx context.Context) *v1.ReleaseResponse {
	names, err := p.users(ctx)
	switch {
	case len(names) > 0:
		return &v1.ReleaseResponse{Reason: "the pool is in use", Holders: names}
	case err != nil:
		return &v1.ReleaseResponse{Reason: err.Error()}
	}
	return nil
}

// finishRelease exports the pool, and says so first on what it lies on and then in the
// registry. It can be repeated after a crash at any point: until the first of the two
// says so, the next start imports the pool again.
func (s *Server) finishRelease(ctx context.Context, st *store.Store, cfg pool.Config, id dot.PoolID) error {
	// A look at its health, as there is every minute, keeps it busy for a moment.
	if err := s.retry(ctx, "export", func() error { return pool.Export(ctx, cfg) }); err != nil {
		return err
	}
	_, err := s.amendClaim(ctx, st, func(c *store.Claim) { c.Released = true })
	if err != nil && !errors.Is(err, pool.ErrReleased) {
		return err
	}
	if !id.IsZero() {
		s.tidyRunDir(ctx, id)
	}
	s.letOthersIn()
	s.waitFor(errReleased)
	close(s.released)
	klog.FromContext(ctx).Info("released the pool", "name", cfg.Name.String(), "claim", cfg.Assignment.Claim.String(), "generation", cfg.Assignment.Generation)
	return nil
}

// stayReleased is for a server that is started again after it has released its pool,
// or died while it did: it finishes that, and serves nothing.
func (s *Server) stayReleased(ctx context.Context, st *store.Store) error {
	s.waitFor(errReleased)
	rec, _, err := found(st.GetClaim(ctx, s.assignment.Claim))
	if err != nil {
		return err
	}
	client, _, err := s.prepareHost(ctx)
	if err != nil {
		return err
	}
	cfg, err := s.describePool(ctx, client, rec.Value)
	if err != nil {
		return err
	}
	return s.finishRelease(ctx, st, cfg, rec.Value.Pool)
}

// tidyRunDir takes away what has the node service look after the pool: its deadline and
// its socket.
func (s *Server) tidyRunDir(ctx context.Context, id dot.PoolID) {
	for _, name := range []string{dot.FenceDeadlineFile, socketName} {
		err := os.Remove(filepath.Join(s.poolDir(id), name))
		if err != nil && !os.IsNotExist(err) {
			klog.FromContext(ctx).Error(err, "cannot tidy up after the pool", "pool", id)
		}
	}
}

// Release answers the operator.
func (h statusHandler) Release(ctx context.Context, r *connect.Request[v1.ReleaseRequest]) (*connect.Response[v1.ReleaseResponse], error) {
	res, err := h.s.release(ctx, r.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(res), nil
}
