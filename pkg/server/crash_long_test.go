//go:build zfs && long

package server_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// matrix is the state of TestCrashMatrix: one pool, one registry, and the server
// that lives at the moment.
type matrix struct {
	*machine
	live  *child
	empty string
	// dirty: a case has begun and not ended, so that it left something.
	dirty bool
	hit   map[crash.Point]bool
}

// TestCrashMatrix kills a server at each point that a flow passes, starts
// another, repeats the call, and compares what is there with an undisturbed run.
// The server that survives one case is the one that dies in the next.
func TestCrashMatrix(t *testing.T) {
	x := &matrix{machine: newMachine(t), hit: map[crash.Point]bool{}}
	x.revive()
	x.empty = x.settled()
	whole := true
	for _, f := range crashFlows() {
		ran := false
		t.Run(strings.ReplaceAll(f.name, " ", "-"), func(t *testing.T) { ran = true; x.flow(t, f) })
		whole = whole && ran
	}
	for _, f := range crashStarts() {
		ran := false
		t.Run(strings.ReplaceAll(f.name, " ", "-"), func(t *testing.T) { ran = true; x.start(t, f) })
		whole = whole && ran
	}
	if whole {
		t.Run("every-point", func(t *testing.T) { everyPointHasACase(t, x.hit) })
	}
}

// revive makes sure that a server lives.
func (x *matrix) revive() {
	x.t.Helper()
	if x.live == nil {
		x.live = x.spawn(false, "")
		x.awaitReady(x.live.running)
	}
}

func (x *matrix) kill() {
	if x.live != nil {
		x.live.kill()
		x.live = nil
	}
}

// begin gives a case a server and an empty pool; what it gives ends the case.
func (x *matrix) begin(t *testing.T) (end func()) {
	t.Helper()
	outer := x.t
	x.t = t
	if x.dirty {
		x.kill()
		x.revive()
		x.clear()
	}
	x.dirty = true
	x.revive()
	return func() { x.t, x.dirty = outer, x.dirty && t.Failed() }
}

// undisturbed gives the points that a flow passes, and the state before and
// after it.
func (x *matrix) undisturbed(t *testing.T, f crashFlow) (points []string, before, after string) {
	defer x.begin(t)()
	f.setup(t, x)
	before = x.settled()
	x.live.points(t)
	if err := f.run(x.live.running); err != nil {
		t.Fatal(err)
	}
	after = x.settled()
	points = named(x.live.points(t), f.points)
	if len(points) == 0 {
		t.Error("no point was passed")
	}
	x.clear()
	return points, before, after
}

func (x *matrix) flow(t *testing.T, f crashFlow) {
	points, before, want := x.undisturbed(t, f)
	t.Logf("%d points: %v", len(points), points)
	for _, at := range points {
		t.Run(at, func(t *testing.T) {
			defer x.begin(t)()
			f.setup(t, x)
			x.becomes("the state before differs from an undisturbed run", before)
			x.live.tell(t, "arm "+at)
			x.dies(t, f, at)
			x.revive()
			x.repeat(t, f)
			x.becomes("the state differs from an undisturbed run", want)
			x.clear()
		})
	}
}

// named leaves what comes when it likes out. With DOTMESH_CRASH_ALL set each
// time that a point is passed is a case, otherwise the first is.
func named(passed []string, filter string) []string {
	return slices.DeleteFunc(passed, func(p string) bool {
		point, count, _ := strings.Cut(p, "#")
		again := count != "1" && os.Getenv("DOTMESH_CRASH_ALL") == ""
		return again || (filter == "" && strings.Contains(point, "store.lease-")) || !strings.Contains(point, filter)
	})
}

// dies runs a flow until the server is dead.
func (x *matrix) dies(t *testing.T, f crashFlow, at string) {
	t.Helper()
	c := x.live
	failed := make(chan error, 1)
	go func() { failed <- f.run(c.running) }()
	select {
	case <-c.died:
	case err := <-failed:
		if err == nil && !c.killedItself(2*time.Minute) { // in the background
			t.Errorf("the point was not passed")
		} else if err != nil && !c.killedItself(30*time.Second) {
			t.Errorf("the call failed without a crash: %v", err)
		}
	case <-time.After(5 * time.Minute):
		t.Error("neither died nor answered")
	}
	x.kill()
	x.died(at)
}

func (x *matrix) died(at string) {
	point, _, _ := strings.Cut(at, "#")
	x.hit[crash.Point(point)] = true
}

// repeat is what a caller does.
func (x *matrix) repeat(t *testing.T, f crashFlow) {
	t.Helper()
	x.eventually("the retries", func() string {
		err := f.run(x.live.running)
		if err == nil {
			return ""
		}
		if code := dot.CodeOf(err); code != dot.CodeAborted && code != dot.CodeUnavailable {
			t.Fatalf("the retry: %v", err)
		}
		return err.Error()
	})
}

// start kills servers while they start.
func (x *matrix) start(t *testing.T, f crashStart) {
	defer x.begin(t)()
	f.setup(t, x)
	want := x.settled()
	x.kill()
	before := func() {
		if f.before != nil {
			f.before(x)
		}
	}
	before()
	first := x.spawn(f.recover, "")
	x.awaitReady(first.running)
	x.becomes("the state after an undisturbed start", want)
	points := slices.DeleteFunc(first.points(t), func(p string) bool {
		// On a slow machine a lease can end while the server starts.
		return strings.Contains(p, "lease-renew") || strings.Contains(p, "lease-") && !strings.HasSuffix(p, "#1")
	})
	first.kill()
	t.Logf("%d points: %v", len(points), points)
	for _, at := range points {
		t.Run(at, func(t *testing.T) {
			outer := x.t
			x.t = t
			defer func() { x.t = outer }()
			before()
			dying := x.spawn(f.recover, at)
			if !dying.killedItself(2 * time.Minute) {
				t.Error("the point was not passed")
			}
			dying.kill()
			x.died(at)
			x.live = x.spawn(f.recover, "")
			x.awaitReady(x.live.running)
			x.becomes("the state differs from an undisturbed start", want)
			if f.check != nil {
				f.check(t, x)
			}
			x.kill()
		})
	}
	x.revive()
	x.clear()
}

// clear deletes everything that a flow made, and waits until nothing is left.
func (x *matrix) clear() {
	x.t.Helper()
	x.eventually("not everything can be deleted", func() string {
		if err := deleteAll(x.live.running); err != nil {
			return err.Error()
		}
		return ""
	})
	x.becomes("something is left", x.empty)
}

func deleteAll(r *running) error {
	volumes, err1 := call(r.Volumes.ListVolumes, &v1.ListVolumesRequest{})
	snapshots, err2 := call(r.Volumes.ListSnapshots, &v1.ListSnapshotsRequest{})
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	var errs []error
	for _, v := range volumes.Volumes {
		if len(v.PublishedNodes) > 0 {
			_, err := call(r.Volumes.UnpublishVolume, &v1.UnpublishVolumeRequest{Volume: v.Id})
			errs = append(errs, err)
		}
		_, err := call(r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: v.Id})
		errs = append(errs, err)
	}
	for _, s := range snapshots.Snapshots {
		_, err := call(r.Volumes.DeleteSnapshot, &v1.DeleteSnapshotRequest{Handle: s.Handle})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// elsewhere tells of the points that no case here dies at why.
func elsewhere() map[string]string {
	const (
		unused   = "nothing calls it yet: it is for the replication between pools"
		poolTest = "TestPoolCrashPoints in pkg/engine/pool dies there: the servers here are given a pool"
		tests    = "only pkg/zfs/zfstest and tests of pkg/zfs call it"
	)
	return map[string]string{
		"zfs.rename": unused, "zfs.bookmark": unused, "zfs.destroy-bookmark": unused,
		"zfs.hold": unused, "zfs.release": unused,
		"zfs.receive": unused, "zfs.abort-receive": unused, "zfs.destroy-pool": tests,
		"zfs.create-pool": poolTest, "zfs.import": poolTest, "zfs.export": poolTest, "zfs.expand-device": poolTest, "zfs.set-pool": poolTest,
		"pool.allocate": poolTest, "pool.attach": poolTest, "pool.mark": poolTest, "pool.extend": poolTest, "pool.detach": poolTest,
	}
}

// everyPointHasACase compares the points that servers died at with those that
// the packages declare.
func everyPointHasACase(t *testing.T, hit map[crash.Point]bool) {
	reasons, there := elsewhere(), map[string]bool{}
	for _, p := range slices.Concat(zfs.Points(), engine.Points(), pool.Points(), store.Points()) {
		operation := string(p[:strings.LastIndex(string(p), ".")])
		there[operation] = true
		switch reason := reasons[operation]; {
		case hit[p] && reason != "":
			t.Errorf("%s has a case, and a reason why it has none: %s", p, reason)
		case !hit[p] && reason == "":
			t.Errorf("no case dies at %s: add a flow that passes it, or say in elsewhere why there is none", p)
		}
	}
	for operation := range reasons {
		if !there[operation] {
			t.Errorf("elsewhere has a reason for %s, which is no point", operation)
		}
	}
}
