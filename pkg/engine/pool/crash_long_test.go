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
		zfs.BeforeSetPool, zfs.AfterSetPool,
	}
}

// deaths has each try die at the first point that no try has died at in that step.
type deaths struct {
	died    map[string]bool
	hit     map[crash.Point]bool
	step    int
	crashed bool
}

func (d *deaths) pass(_ context.Context, p crash.Point) {
	here := fmt.Sprintf("step %d, %s", d.step, p)
	if d.crashed = !d.died[here]; d.crashed {
		d.died[here], d.hit[p] = true, true
		runtime.Goexit()
	}
}

// through goes through the steps; each goes on where the try before has died.
func (d *deaths) through(t *testing.T, steps []func() error) {
	t.Helper()
	for d.step < len(steps) {
		var err error
		d.crashed = false
		done := make(chan struct{})
		go func() { defer close(done); err = steps[d.step]() }()
		<-done
		if err != nil {
			t.Fatalf("after crashes at %v: %v", d.died, err)
		}
		if !d.crashed {
			d.step++
		}
	}
}

// TestPoolCrashPoints makes, grows and exports one pool.
func TestPoolCrashPoints(t *testing.T) {
	d := &deaths{died: map[string]bool{}, hit: map[crash.Point]bool{}}
	cfg := onDisk(t, d.pass)
	larger := cfg
	larger.SizeBytes += MinSize
	guarded := larger
	guarded.Multihost = true
	d.through(t, []func() error{
		func() error { _, err := Ensure(t.Context(), cfg); return err },
		func() error { _, err := Ensure(t.Context(), larger); return err },
		func() error { return Export(t.Context(), larger) },
		func() error { _, err := Ensure(t.Context(), larger); return err },
		func() error { _, err := Ensure(t.Context(), guarded); return err },
	})
	for _, p := range slices.Concat(Points(), zfsPoints()) {
		if !d.hit[p] {
			t.Errorf("no step died at %s", p)
		}
	}
	pool, err := cfg.ZFS.Pool(t.Context(), cfg.Name)
	if err != nil || pool.Size < MinSize*3/2 {
		t.Errorf("at the end: %+v, %v", pool, err)
	}
}

// TestMovingPoolCrashPoints makes, releases and takes a pool on a disk that is given
// to one node after another.
func TestMovingPoolCrashPoints(t *testing.T) {
	d := &deaths{died: map[string]bool{}, hit: map[crash.Point]bool{}}
	first := onDevice(t, d.pass)
	second := first
	second.Assignment.Generation++
	ensured := func(cfg Config) func() error {
		return func() error { _, err := Ensure(t.Context(), cfg); return err }
	}
	exported := func(cfg Config) func() error {
		return func() error { return Export(t.Context(), cfg) }
	}
	d.through(t, []func() error{
		ensured(first), exported(first),
		func() error { return refusedAs(t, first, ErrReleased) },
		ensured(second),
		func() error { return refusedAs(t, first, ErrGivenAway) },
		exported(second),
		func() error { return refusedAs(t, first, ErrGivenAway) },
		func() error { return refusedAs(t, second, ErrReleased) },
	})
	if len(d.died) < 20 {
		t.Errorf("only %d deaths: %v", len(d.died), d.died)
	}
}
