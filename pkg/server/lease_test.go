package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// fakeLease stands for a *store.Lease.
type fakeLease struct {
	lost    chan struct{}
	renewed time.Duration
	breaks  uint64
	revoked bool
	// now, if there is one, renews the lease all the time.
	now func() time.Duration
}

func (l *fakeLease) Done() <-chan struct{} { return l.lost }
func (l *fakeLease) LastRenewal() time.Duration {
	if l.now != nil {
		return l.now()
	}
	return l.renewed
}
func (l *fakeLease) Breaks() uint64         { return l.breaks }
func (l *fakeLease) Guard(*store.Txn)       {}
func (l *fakeLease) Revoke(context.Context) { l.revoked = true }

// rig is a keeper with a clock that stands still between steps, and a log of
// what it did.
type rig struct {
	*leaseKeeper
	clock    time.Duration
	refuse   error // of the next attempts to acquire
	badBegin error
	began    int
	later    bool
	badCheck error
	badFence error
	lease    *fakeLease
	did      []string
	recorded time.Duration
}

func newRig() *rig {
	r := &rig{clock: time.Hour}
	r.leaseKeeper = &leaseKeeper{
		acquire: func(context.Context) (heldLease, error) {
			if r.refuse != nil {
				return nil, r.refuse
			}
			r.lease = &fakeLease{lost: make(chan struct{}), renewed: r.clock}
			r.did = append(r.did, "acquire")
			return r.lease, nil
		},
		begin: func(_ context.Context, _ heldLease, later bool) error {
			r.began, r.later = r.began+1, later
			return r.badBegin
		},
		failed: make(chan error, 1),
		check:  func(context.Context) error { r.did = append(r.did, "check"); return r.badCheck },
		fence: func(_ context.Context, on bool) error {
			if r.badFence == nil {
				r.did = append(r.did, map[bool]string{true: "fence", false: "lift"}[on])
			}
			return r.badFence
		},
		record:   func(_ context.Context, at time.Duration) error { r.recorded = at; return nil },
		boot:     func() time.Duration { return r.clock },
		promised: promisedFence,
		observe:  func(bool) {},
	}
	return r
}

func (r *rig) serving() bool {
	_, err := r.current()
	return err == nil
}

// expect steps after some time and compares what was done.
func (r *rig) expect(t *testing.T, after time.Duration, serving bool, did ...string) {
	t.Helper()
	r.clock += after
	r.did = nil
	if next := r.step(t.Context()); next <= 0 || next > leaseTick {
		t.Errorf("looks again in %s", next)
	}
	if len(r.did) != len(did) {
		t.Fatalf("did %v, want %v", r.did, did)
	}
	for i := range did {
		if r.did[i] != did[i] {
			t.Fatalf("did %v, want %v", r.did, did)
		}
	}
	if r.serving() != serving {
		t.Fatalf("serving is %t, want %t", !serving, serving)
	}
}

func TestLeaseIsCheckedBeforeTheFenceIsLifted(t *testing.T) {
	r := newRig()
	r.badCheck = errors.New("etcd is away")
	r.expect(t, 0, false, "acquire", "check")
	r.expect(t, time.Second, false, "check")
	r.badCheck = nil
	r.expect(t, time.Second, true, "check", "lift")
	r.expect(t, leaseTick, true)
}

func TestPoolIsLookedAtOnceTheLeaseIsHeld(t *testing.T) {
	r := newRig()
	r.refuse = store.ErrLeaseHeld
	r.expect(t, 0, false)
	if r.began != 0 {
		t.Error("the pool was listed while another server held its lease")
	}
	r.refuse, r.badBegin = nil, dot.Unavailable("etcd is away")
	r.expect(t, time.Second, false, "acquire")
	if len(r.failed) != 0 {
		t.Error("what passes by itself ended the server")
	}
	r.badBegin = dot.Precondition("the registry is older than the pool")
	r.expect(t, time.Second, false)
	r.expect(t, time.Second, false)
	if len(r.failed) != 1 {
		t.Error("what does not pass by itself did not end the server")
	}
	r.badBegin = nil
	r.expect(t, time.Second, true, "check", "lift")
	began := r.began
	close(r.lease.lost)
	r.expect(t, time.Second, true, "acquire", "check", "lift")
	if r.began != began+1 || !r.later {
		t.Error("the registry was not compared again, and it may have been put back")
	}
	r.badBegin = dot.Precondition("the registry is older than the pool")
	close(r.lease.lost)
	r.expect(t, time.Second, false, "acquire")
}

func TestRegistryIsComparedWhenTheConnectionWasLost(t *testing.T) {
	r := newRig()
	r.expect(t, 0, true, "acquire", "check", "lift")
	r.lease.breaks++
	if r.serving() {
		t.Error("it serves with what the registry said before")
	}
	r.badBegin = dot.Unavailable("etcd is away")
	r.expect(t, time.Second, false)
	r.badBegin = nil
	r.expect(t, time.Second, true, "check", "lift")
	if r.began != 3 || !r.later {
		t.Errorf("compared %d times, want 3", r.began)
	}
}

// slowly serves, and has the next comparison take longer than a promise that is short.
func slowly(t *testing.T) *rig {
	t.Helper()
	r := newRig()
	start := time.Now()
	r.boot = func() time.Duration { return time.Hour + time.Since(start) }
	r.promised = 300 * time.Millisecond
	r.clock = r.boot()
	r.expect(t, 0, true, "acquire", "check", "lift")
	r.begin = func(ctx context.Context, _ heldLease, _ bool) error {
		select {
		case <-ctx.Done():
			return dot.Precondition("it was killed")
		case <-time.After(500 * time.Millisecond):
			return nil
		}
	}
	r.lease.breaks++
	return r
}

func TestComparisonMayTakeLongerThanThePromise(t *testing.T) {
	r := slowly(t)
	r.lease.now = r.boot
	var recorded []time.Duration
	r.record = func(_ context.Context, at time.Duration) error {
		if len(recorded) > 0 && r.boot() > recorded[len(recorded)-1]+200*time.Millisecond {
			t.Errorf("what is recorded ended %s before it was renewed", r.boot()-recorded[len(recorded)-1])
		}
		recorded = append(recorded, at)
		return nil
	}
	r.expect(t, 0, true, "check", "lift")
	if len(recorded) < 3 { // before, while, and after it ran
		t.Errorf("recorded %v while the lease was renewed", recorded)
	}
}

func TestComparisonEndsWithThePromise(t *testing.T) {
	r := slowly(t)
	due := r.lease.renewed + r.promised
	var fell time.Duration
	lift := r.fence
	r.fence = func(ctx context.Context, on bool) error { fell = r.boot(); return lift(ctx, on) }
	r.expect(t, 0, false, "fence")
	if fell < due || fell > due+200*time.Millisecond {
		t.Errorf("the fence fell %s after the promise's end", fell-due)
	}
	if len(r.failed) != 0 {
		t.Error("a comparison that was stopped ended the server")
	}
	r.lease.now = r.boot
	r.expect(t, 0, true, "check", "lift")
}

func TestComparisonEndsWithTheLease(t *testing.T) {
	r := slowly(t)
	r.lease.now = r.boot
	r.promised = time.Hour
	close(r.lease.lost)
	r.acquire = func(context.Context) (heldLease, error) { return r.lease, nil }
	began := time.Now()
	r.expect(t, 0, false)
	if took := time.Since(began); took > 400*time.Millisecond || len(r.failed) != 0 {
		t.Errorf("ended after %s, and the server with it: %t", took, len(r.failed) > 0)
	}
}

func TestLiftingEndsWithThePromise(t *testing.T) {
	r := newRig()
	r.check = func(ctx context.Context) error {
		if at, ok := ctx.Deadline(); !ok || time.Until(at) > r.promised {
			t.Error("the epochs may be read for longer than the promise lasts")
		}
		return nil
	}
	lift := r.fence
	r.fence = func(ctx context.Context, on bool) error {
		if at, ok := ctx.Deadline(); !ok || time.Until(at) > r.promised {
			t.Error("the fence may be lifted when the promise is over")
		}
		return lift(ctx, on)
	}
	r.expect(t, 0, true, "acquire", "lift")
}

func TestDeadlineFollowsRenewals(t *testing.T) {
	r := newRig()
	r.expect(t, 0, true, "acquire", "check", "lift")
	if want := r.clock + promisedFence; r.recorded != want {
		t.Errorf("recorded %s, want %s", r.recorded, want)
	}
	r.clock += 5 * time.Second
	r.lease.renewed = r.clock
	r.expect(t, time.Second, true)
	if want := r.lease.renewed + promisedFence; r.recorded != want {
		t.Errorf("recorded %s, want %s", r.recorded, want)
	}
}

func TestFenceFallsWhenThePromiseEnds(t *testing.T) {
	r := newRig()
	r.expect(t, 0, true, "acquire", "check", "lift")
	r.expect(t, promisedFence-time.Second, true)
	r.expect(t, time.Second, false, "fence")
	r.expect(t, time.Minute, false)
	// etcd is back and the lease was never lost.
	r.lease.renewed = r.clock
	r.expect(t, time.Second, true, "check", "lift")
	r.expect(t, leaseTick, true)
}

func TestFenceThatFailsIsTriedAgain(t *testing.T) {
	r := newRig()
	r.expect(t, 0, true, "acquire", "check", "lift")
	r.badFence = errors.New("pool is suspended")
	r.expect(t, promisedFence, false)
	r.badFence = nil
	r.expect(t, time.Second, false, "fence")
}

func TestLostLeaseIsTakenAgain(t *testing.T) {
	r := newRig()
	r.expect(t, 0, true, "acquire", "check", "lift")
	r.refuse = dot.Errorf(dot.CodeAborted, "another: %w", store.ErrLeaseHeld)
	close(r.lease.lost)
	r.expect(t, time.Second, false)
	r.expect(t, promisedFence, false, "fence")
	r.refuse = nil
	r.expect(t, time.Second, true, "acquire", "check", "lift")
}

func TestRestartDoesNotProlongThePromise(t *testing.T) {
	r := newRig()
	r.deadline = r.clock + 10*time.Second // an earlier run's
	r.refuse = dot.Unavailable("etcd is away")
	r.expect(t, time.Second, false)
	r.expect(t, 9*time.Second, false, "fence")
	r.refuse = nil
	r.expect(t, time.Second, true, "acquire", "check", "lift")
}

func TestDeadlineThatCannotBeRecordedServesNobody(t *testing.T) {
	r := newRig()
	r.record = func(context.Context, time.Duration) error { return errors.New("disk full") }
	r.expect(t, 0, false, "acquire")
}

func TestLeaseIsKeptUntilItIsGivenUp(t *testing.T) {
	r := newRig()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	served := make(chan struct{}, 10)
	r.observe = func(held bool) {
		if held {
			served <- struct{}{}
		}
	}
	go func() { defer close(done); r.run(ctx) }()
	<-served
	cancel()
	<-done
	if r.lease.revoked || r.serving() {
		t.Errorf("revoked %t, serving %t before it is given up", r.lease.revoked, r.serving())
	}
	r.giveUp(t.Context())
	if !r.lease.revoked {
		t.Error("the lease was not given up")
	}
}

func TestDeadlineFile(t *testing.T) {
	f := deadlineFile{dir: t.TempDir(), dataset: "pool/dotmesh", bootID: "this"}
	if at, err := f.read(); at != 0 || err != nil {
		t.Errorf("got %s, %v", at, err)
	}
	for _, want := range []time.Duration{time.Hour, 2 * time.Hour} {
		if err := f.write(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if at, err := f.read(); at != want || err != nil {
			t.Errorf("got %s, %v, want %s", at, err, want)
		}
	}
	// A node service that is stopped with the lock stops no server.
	held, err := os.OpenFile(filepath.Join(f.dir, dot.FenceLockFile), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := f.write(t.Context(), 3*time.Hour); dot.CodeOf(err) != dot.CodeUnavailable {
		t.Errorf("with the lock held for ever: got %v", err)
	}
	f.bootID = "another"
	if at, err := f.read(); at != 0 || err != nil {
		t.Errorf("after a reboot: got %s, %v", at, err)
	}
}
