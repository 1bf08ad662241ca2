package server

import (
	"context"
	"sync"

	"connectrpc.com/connect"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// gate counts the calls that are under way, so that the pool can be let go of once
// there is none. Its zero value is open.
type gate struct {
	mu    sync.Mutex
	calls int
	shut  error         // why nobody may enter; nil while it is open
	empty chan struct{} // closed by the last call that leaves a shut gate
}

func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.calls++
	}
	return g.shut
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calls--; g.calls == 0 && g.shut != nil {
		close(g.empty)
	}
}

// close lets nobody in any more and waits for the calls that are under way. It is
// open again when they have not ended in time.
func (g *gate) close(ctx context.Context, why error) error {
	g.mu.Lock()
	g.shut, g.empty = why, make(chan struct{})
	if g.calls == 0 {
		close(g.empty)
	}
	empty := g.empty
	g.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		g.open()
		return dot.Unavailable("calls are still under way: %w", ctx.Err())
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = nil
}

// pass has every call go through the gate.
func (g *gate) pass() connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			if err := g.enter(); err != nil {
				return nil, err
			}
			defer g.leave()
			return next(ctx, req)
		}
	}
}
