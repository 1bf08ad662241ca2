//go:build zfs && long

package pool

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// zfsPoints are those of pkg/zfs that the server's crash matrix leaves to this
// package: its elsewhere names them.
func zfsPoints() []crash.Point {
	return []crash.Point{
		zfs.BeforeCreatePool, zfs.AfterCreatePool, zfs.BeforeImport, zfs.AfterImport,
		zfs.BeforeExport, zfs.AfterExport, zfs.BeforeExpandDevice, zfs.AfterExpandDevice,
	}
}

// TestPoolCrashPoints makes, grows and exports one pool. Each try dies at the
// first point that no try has died at in that step, and the next goes on there.
func TestPoolCrashPoints(t *testing.T) {
	died, hit := map[string]bool{}, map[crash.Point]bool{}
	step, crashed := 0, false
	cfg := onDisk(t, func(_ context.Context, p crash.Point) {
		here := fmt.Sprintf("step %d, %s", step, p)
		if crashed = !died[here]; crashed {
			died[here], hit[p] = true, true
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
	for _, p := range slices.Concat(Points(), zfsPoints()) {
		if !hit[p] {
			t.Errorf("no step died at %s", p)
		}
	}
	pool, err := cfg.ZFS.Pool(t.Context(), cfg.Name)
	if err != nil || pool.Size < MinSize*3/2 {
		t.Errorf("at the end: %+v, %v", pool, err)
	}
}
