//go:build zfs && long

package engine

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
)

// TestEngineLong is TestEngine for what takes minutes.
func TestEngineLong(t *testing.T) {
	onOnePool(t, map[string]func(*testing.T, *rig){
		"CrashPoints": testCrashPoints,
		"HeadLimit":   testHeadLimit,
	})
}

type step func(ctx context.Context) error

// crashEverywhere takes steps again and again. Each try dies at the first point
// that no try has died at in that step, as far as the pool can tell, and a
// restarted server takes the next, until one goes through.
func (r *rig) crashEverywhere(steps ...step) {
	r.t.Helper()
	died := map[string]bool{}
	for {
		at, err := r.try(died, steps)
		r.at = nil
		r.open()
		if err != nil {
			r.t.Fatalf("after crashes at %v: %v", died, err)
		}
		if at == "" {
			r.t.Logf("died at %d points", len(died))
			return
		}
	}
}

// try tells where it died, "" for nowhere.
func (r *rig) try(died map[string]bool, steps []step) (at string, failure error) {
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	var mu sync.Mutex
	var taking int
	// A point can be passed by a goroutine that others wait for: cancel ends
	// their wait. What runs on beside it dies at its own next point.
	r.at = func(_ context.Context, p crash.Point) {
		mu.Lock()
		defer mu.Unlock()
		here := fmt.Sprintf("step %d, %s", taking, p)
		if at == "" && died[here] {
			return
		}
		if at == "" {
			at, died[here] = here, true
			cancel()
		}
		runtime.Goexit()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i, take := range steps {
			mu.Lock()
			taking = i
			mu.Unlock()
			if err := take(ctx); err != nil {
				failure = fmt.Errorf("step %d: %w", i, err)
				return
			}
		}
	}()
	<-done
	mu.Lock()
	defer mu.Unlock()
	if at != "" {
		failure = nil // the dying try's own
	}
	return at, failure
}

func testCrashPoints(t *testing.T, r *rig) {
	_, source := r.create("source", nil)
	ref := r.commit(source)
	before := r.names()
	d, b := r.newDot("crash")
	v := claim(&d, b, "data", 32<<20)
	d2, b2 := r.newDot("clone")
	c := dot.Commit{ID: dot.NewCommitID(), Dot: d.ID, Branch: b.ID}
	own := CommitRef{Branch: b.ID, Commit: c.ID}
	r.crashEverywhere(
		func(ctx context.Context) error {
			return r.CreateBranch(ctx, BranchSpec{Dot: d, Branch: b, Volumes: []dot.Volume{v}, From: &ref})
		},
		func(ctx context.Context) error {
			_, err := r.Prepare(ctx, PrepareSpec{Branch: b.ID, Subdot: v.Subdot, Record: d.Subdots[v.Subdot], QuotaBytes: 48 << 20})
			return err
		},
		func(ctx context.Context) error { return r.SetVolume(ctx, v, b.ID, d.Subdots[v.Subdot]) },
		func(ctx context.Context) error { _, err := r.Commit(ctx, c); return err },
		func(ctx context.Context) error {
			return r.CreateBranch(ctx, BranchSpec{Dot: d2, Branch: b2, From: &own})
		},
	)
	same(t, "when all is made", r.names(), append(before, b.ID.String(), b.ID.String()+"@"+c.ID.String(), b2.ID.String())...)
	r.crashEverywhere(
		func(ctx context.Context) error { return r.RemoveVolume(ctx, b.ID, v.ID) },
		func(ctx context.Context) error {
			return r.RemoveSubdot(ctx, b.ID, v.Subdot, d.Subdots[v.Subdot])
		},
		func(ctx context.Context) error {
			if err := r.DestroyCommit(ctx, own); err != nil && dot.CodeOf(err) != dot.CodePrecondition {
				return err
			}
			return nil
		},
		func(ctx context.Context) error { return r.DestroyBranch(ctx, b.ID) },
		func(ctx context.Context) error { return r.DestroyBranch(ctx, b2.ID) },
		func(ctx context.Context) error { return r.Sweep(ctx) },
	)
	same(t, "when all is gone", r.names(), before...)
}
