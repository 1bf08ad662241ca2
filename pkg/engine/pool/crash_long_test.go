//go:build zfs && long

package pool

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
)

// TestPoolCrashPoints makes, grows and exports one pool. Each try dies at the
// first point that no try has died at in that step, and the next goes on there.
func TestPoolCrashPoints(t *testing.T) {
	died := map[string]bool{}
	step, crashed := 0, false
	cfg := onDisk(t, func(_ context.Context, p crash.Point) {
		here := fmt.Sprintf("step %d, %s", step, p)
		if crashed = !died[here]; crashed {
			died[here] = true
			runtime.Goexit()
		}
	})
	larger := cfg
	larger.SizeBytes += MinSize
	steps := []func() error{
		func() error { _, err := Ensure(t.Context(), cfg); return err },
		func() error { _, err := Ensure(t.Context(), larger); return err },
		func() error { return Export(t.Context(), larger) },
		func() error { _, err := Ensure(t.Context(), larger); return err },
	}
	for step < len(steps) {
		var err error
		crashed = false
		done := make(chan struct{})
		go func() { defer close(done); err = steps[step]() }()
		<-done
		if err != nil {
			t.Fatalf("after crashes at %v: %v", died, err)
		}
		if !crashed {
			step++
		}
	}
	t.Logf("died at %d points", len(died))
	pool, err := cfg.ZFS.Pool(t.Context(), cfg.Name)
	if err != nil || pool.Size < MinSize*3/2 {
		t.Errorf("at the end: %+v, %v", pool, err)
	}
}
