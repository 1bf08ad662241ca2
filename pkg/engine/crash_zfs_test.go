//go:build zfs

package engine

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
)

// abortAt ends the goroutine that passes a point, like a crash as far as the
// pool can tell, and returns the points that were passed.
func (r *rig) abortAt(n int) (passed func() []crash.Point) {
	var mu sync.Mutex
	var points []crash.Point
	r.at = func(_ context.Context, p crash.Point) {
		mu.Lock()
		points = append(points, p)
		dead := len(points) == n
		mu.Unlock()
		if dead {
			runtime.Goexit()
		}
	}
	return func() []crash.Point {
		mu.Lock()
		defer mu.Unlock()
		return append([]crash.Point(nil), points...)
	}
}

// survive runs steps with an abort at their nth point, restarts the server and
// runs them again. It tells whether there was an nth point.
func (r *rig) survive(n int, steps func(ctx context.Context) error) (crash.Point, bool) {
	r.t.Helper()
	passed := r.abortAt(n)
	// Work that goes on in another goroutine dies there; its caller must not wait
	// for it for ever.
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	r.at = chain(r.at, func(context.Context, crash.Point) {
		if len(passed()) >= n {
			cancel()
		}
	})
	go func() {
		defer close(done)
		_ = steps(ctx)
	}()
	<-done
	cancel()
	points := passed()
	r.at = nil
	r.open()
	if err := steps(r.t.Context()); err != nil {
		r.t.Errorf("after a crash at point %d of %v: %v", n, points, err)
	}
	if len(points) < n {
		return "", false
	}
	return points[n-1], true
}

// chain calls the second hook also when the first one never returns.
func chain(first, second crash.Hook) crash.Hook {
	return func(ctx context.Context, p crash.Point) {
		defer second(ctx, p)
		first(ctx, p)
	}
}

func TestCrashPoints(t *testing.T) {
	r := newRig(t)
	_, source := r.create("source", nil)
	ref := r.commit(source)
	seen := map[crash.Point]bool{}
	for n := 1; ; n++ {
		d, b := r.newDot("crash")
		v := claim(&d, b, "data", 32<<20)
		d2, b2 := r.newDot("clone")
		c := dot.Commit{ID: dot.NewCommitID(), Dot: d.ID, Branch: b.ID}
		own := CommitRef{Branch: b.ID, Commit: c.ID}
		stage := func(steps ...func(ctx context.Context) error) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				for _, step := range steps {
					if err := step(ctx); err != nil {
						return err
					}
				}
				return nil
			}
		}
		point, more := r.survive(n, stage(
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
		))
		seen[point] = true
		if r.read(b, "data/x") != "" || !r.HasBranch(b2.ID) {
			t.Error("not what an undisturbed run makes")
		}
		point, moreOfEnd := r.survive(n, stage(
			func(ctx context.Context) error { return r.RemoveVolume(ctx, b.ID, v.ID) },
			func(ctx context.Context) error { return r.RemoveSubdot(ctx, b.ID, v.Subdot, d.Subdots[v.Subdot]) },
			func(ctx context.Context) error {
				if err := r.DestroyCommit(ctx, own); dot.CodeOf(err) != dot.CodePrecondition && err != nil {
					return err
				}
				return nil
			},
			func(ctx context.Context) error { return r.DestroyBranch(ctx, b.ID) },
			func(ctx context.Context) error { return r.DestroyBranch(ctx, b2.ID) },
			func(ctx context.Context) error { return r.Sweep(ctx) },
		))
		seen[point] = true
		same(t, "after the end", r.names(), source.ID.String(), source.ID.String()+"@"+ref.Commit.String())
		if !more && !moreOfEnd {
			t.Logf("%d points: %v", len(seen), seen)
			return
		}
	}
}
