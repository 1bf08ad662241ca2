package server

import (
	"context"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
)

// growEvery is how often at most a pool is looked at for room to grow into.
const growEvery = time.Minute

// growth makes the pool larger when what it lies on has become larger, or its file is
// to be. The worker does it, which ends before the pool is exported.
type growth struct {
	grow func(context.Context, pool.Config) (bool, error)
	own  pool.Config
	size func() int64 // that own is to have by now

	mu  sync.Mutex
	at  time.Time // when it was asked for last
	has int64     // what own has
}

// growth is of this server's own pool, nil for none.
func (s *Server) growth(has int64) *growth {
	if s.own == nil {
		return nil
	}
	return &growth{grow: pool.Grow, own: *s.own, size: s.cfg.poolSize, at: time.Now(), has: has}
}

// oversize tells of a pool file that is larger than configured, as after an
// installation anew: it is used as it is.
func (g *growth) oversize() error {
	if g == nil {
		return nil
	}
	want := g.size()
	g.mu.Lock()
	defer g.mu.Unlock()
	if want == 0 || g.has <= want {
		return nil
	}
	return dot.Precondition("the file of pool %s has %s, more than the %s that are configured, and cannot shrink: set local.poolSizePerNode (--pool-size) to what it has", g.own.Name, dot.SizeOf(g.has), dot.SizeOf(want))
}

// diskBytes is what the pool's file or device has; 0 on a nil growth.
func (g *growth) diskBytes() int64 {
	if g == nil {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.has
}

// look is called by who asks for the status, often. On a nil growth, of a pool that is
// not this server's own, it does nothing.
func (g *growth) look(w *worker, now time.Time) {
	if g == nil {
		return
	}
	g.mu.Lock()
	due := now.Sub(g.at) > growEvery
	if due {
		g.at = now
	}
	g.mu.Unlock()
	if due {
		w.soon(job{key: "grow the pool", run: g.run})
	}
}

func (g *growth) run(ctx context.Context) error {
	own := g.own
	own.SizeBytes = g.size()
	grown, err := g.grow(ctx, own)
	if grown {
		g.mu.Lock()
		g.has = max(g.has, own.SizeBytes)
		g.mu.Unlock()
		klog.FromContext(ctx).Info("the pool has grown", "pool", own.Name.String())
	}
	return err
}
