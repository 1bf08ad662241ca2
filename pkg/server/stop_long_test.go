//go:build zfs && long

package server_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// outcome is what one of several calls at once has come to.
type outcome struct {
	what string
	try  func(r *running) (id string, err error)
	id   string
	err  error
}

// underWay makes calls for new volumes and for snapshots of the volume "base",
// whose names begin with round.
func underWay(round string, volumes, snapshots int) []*outcome {
	var all []*outcome
	for i := range volumes {
		name := fmt.Sprintf("%s-%d", round, i)
		all = append(all, &outcome{what: "volume " + name, try: func(r *running) (string, error) {
			res, err := call(r.Volumes.CreateVolume, pvc(name))
			return res.GetVolume().GetId(), err
		}})
	}
	for i := range snapshots {
		name := fmt.Sprintf("%s-s%d", round, i)
		all = append(all, &outcome{what: "snapshot " + name, try: func(r *running) (string, error) {
			res, err := call(r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: name, Volume: volumeID("base")})
			return res.GetSnapshot().GetHandle(), err
		}})
	}
	return all
}

// halt tells when a server first passes a point.
type halt struct {
	point  crash.Point
	hangs  bool // the call that passes it does not go on by itself
	once   atomic.Bool
	passed chan struct{}
}

// pass lets what hangs go on when nobody waits for it any more, as a command of
// ZFS's does that is ended with its call.
func (h *halt) pass(ctx context.Context, p crash.Point) {
	if h == nil || p != h.point || !h.once.CompareAndSwap(false, true) {
		return
	}
	close(h.passed)
	if h.hangs {
		<-ctx.Done()
	}
}

// TestAStopWithCallsUnderWay: whatever was answered is there after the restart, what
// was not is refused clearly and can be tried again, and nothing is there twice.
func TestAStopWithCallsUnderWay(t *testing.T) {
	const volumes, snapshots = 3, 2
	m := newMachine(t)
	var now atomic.Pointer[halt]
	hook := func(ctx context.Context, p crash.Point) { now.Load().pass(ctx, p) }
	r := m.start(hook)
	must(t, r.Volumes.CreateVolume, pvc("base"))
	rounds := []halt{{point: zfs.AfterCreate}, {point: zfs.BeforeCreate, hangs: true}, {point: zfs.BeforeSnapshot, hangs: true}}
	for i := range rounds {
		h := &rounds[i]
		h.passed = make(chan struct{})
		calls := underWay(fmt.Sprintf("round%d", i), volumes, snapshots)
		now.Store(h)
		answered := m.interrupt(r, h, calls)
		if all := answered == len(calls); all == h.hangs {
			t.Errorf("stopped at %s: %d of %d calls were answered", h.point, answered, len(calls))
		}
		r = m.start(hook)
		for _, o := range calls {
			o.check(t, r)
		}
	}
	state := m.settled()
	want := 1 + len(rounds)*volumes
	if n := strings.Count(state, "\ndataset ") - 1; n != want || strings.Count(state, "volumes=1") != want { // and the parent of all
		t.Errorf("%d datasets, want %d, each with a volume:\n%s", n, want, state)
	}
	want = len(rounds) * snapshots
	for what, n := range map[string]int{
		"snapshots": snapshotsIn(state), "commits": strings.Count(state, "\ncommit "), "VolumeSnapshots": strings.Count(state, "\nsnapshot "),
	} {
		if n != want {
			t.Errorf("%d %s, want %d:\n%s", n, what, want, state)
		}
	}
	if strings.Contains(state, "intent") {
		t.Errorf("an intent is left:\n%s", state)
	}
}

// interrupt makes all calls at once and stops the server, as SIGTERM does, when the
// first of them passes a point; they go on meanwhile.
func (m *machine) interrupt(r *running, h *halt, calls []*outcome) (answered int) {
	m.t.Helper()
	var under sync.WaitGroup
	for _, o := range calls {
		under.Go(func() { o.id, o.err = o.try(r) })
	}
	select {
	case <-h.passed:
	case <-time.After(time.Minute):
		m.t.Errorf("no call passed %s", h.point)
	}
	begun := time.Now()
	r.stop()
	select {
	case err := <-r.exit:
		if err != nil {
			m.t.Errorf("stopped at %s: %v", h.point, err)
		}
	default:
		m.t.Errorf("stopped at %s: the server runs", h.point)
	}
	if took := time.Since(begun); took > 25*time.Second {
		m.t.Errorf("stopped at %s: it took %v", h.point, took)
	}
	under.Wait()
	for _, o := range calls {
		if o.err == nil {
			answered++
		}
	}
	return answered
}

// check looks for what was promised, and makes the call once more.
func (o *outcome) check(t *testing.T, r *running) {
	t.Helper()
	if o.err != nil {
		var classed *dot.Error
		if !errors.As(o.err, &classed) || classed.Code != dot.CodeUnavailable && classed.Code != dot.CodeAborted || o.err.Error() == "" {
			t.Errorf("%s: got %v, want CodeUnavailable or CodeAborted, after which a caller tries again", o.what, o.err)
		}
	} else if err := o.find(r); err != nil {
		t.Errorf("%s was answered, and after the restart: %v", o.what, err)
	}
	id, err := o.try(r)
	if err != nil || o.err == nil && id != o.id {
		t.Errorf("%s: a retry gave %s, %v; want %s", o.what, id, err, o.id)
	}
	if again, err := o.try(r); err != nil || again != id {
		t.Errorf("%s: another retry gave %s, %v; want %s", o.what, again, err, id)
	}
}

func (o *outcome) find(r *running) error {
	if strings.HasPrefix(o.what, "snapshot ") {
		return onlyError(call(r.Volumes.GetSnapshot, &v1.GetSnapshotRequest{Handle: o.id}))
	}
	return onlyError(call(r.Volumes.GetVolume, &v1.GetVolumeRequest{Volume: o.id}))
}
