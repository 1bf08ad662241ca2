package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/hostclock"
)

const testTTL = 3 * time.Second

func acquire(t *testing.T, s *Store, me Instance) *Lease {
	t.Helper()
	l, err := s.AcquirePoolLease(within(t, 10*time.Second), dot.PoolIDOf(1), me, testTTL)
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	return l
}

func isDone(l *Lease) bool {
	select {
	case <-l.Done():
		return true
	default:
		return false
	}
}

func TestLeaseHasOneHolder(t *testing.T) {
	t.Parallel()
	s, ctx := openOwn(t), within(t, 30*time.Second)
	pool, first, second := dot.PoolIDOf(1), Instance{"server-1", "boot-1"}, Instance{"server-2", "boot-2"}
	l := acquire(t, s, first)
	if got, err := s.GetAlive(ctx, pool); err != nil || got.Value != first {
		t.Errorf("got %+v (%v), want %+v", got.Value, err, first)
	}
	for _, other := range []Instance{second, {"server-1", "boot-2"}, {"server-2", "boot-1"}} {
		before, _ := s.Revision(ctx)
		_, err := s.AcquirePoolLease(ctx, pool, other, testTTL)
		if !errors.Is(err, ErrLeaseHeld) || dot.CodeOf(err) != dot.CodeAborted {
			t.Errorf("%+v: got %v, want ErrLeaseHeld", other, err)
		}
		if after, _ := s.Revision(ctx); after != before {
			t.Errorf("%+v: the refused attempt wrote", other)
		}
	}
	if isDone(l) {
		t.Error("the holder lost the lease")
	}
	commit(t, s.Txn().Held(l).PutPool(dot.Pool{ID: pool}))
	l.Revoke(ctx)
	if !isDone(l) {
		t.Error("a revoked lease is not done")
	}
	wantConflict(t, s.Txn().Held(l).PutPool(dot.Pool{ID: pool}).Commit(ctx), AliveKey(pool))
	_, err := s.GetAlive(ctx, pool)
	wantCode(t, err, dot.CodeNotFound)
	acquire(t, s, second).Revoke(ctx)
}

func TestRestartTakesOverItsOwnLease(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 30*time.Second)
	me := Instance{"server-1", "boot-1"}
	old := acquire(t, s, me)
	restarted := acquire(t, s, me)
	eventually(t, 2*testTTL, "the old run learns that it lost", func() bool { return isDone(old) })
	time.Sleep(testTTL + time.Second) // longer than the old lease could last
	if got, err := s.GetAlive(ctx, dot.PoolIDOf(1)); err != nil || got.Value != me || isDone(restarted) {
		t.Errorf("after the old lease ended: %+v, %v", got, err)
	}
	commit(t, s.Txn().Held(restarted))
	wantConflict(t, s.Txn().Held(old).Commit(ctx), AliveKey(dot.PoolIDOf(1)))
}

func TestKilledHoldersLeaseEnds(t *testing.T) {
	t.Parallel()
	s := open(t)
	killed := openAt(t, Config{Endpoints: []string{shared.endpoint(t)}, Prefix: s.prefix})
	l := acquire(t, killed, Instance{"server-1", "boot-1"})
	killed.Close()
	eventually(t, 2*time.Second, "the closed store's lease is done", func() bool { return isDone(l) })
	eventually(t, 4*testTTL, "another takes the lease", func() bool {
		next, err := s.AcquirePoolLease(within(t, 5*time.Second), dot.PoolIDOf(1), Instance{"server-2", "boot-2"}, testTTL)
		if err == nil {
			next.Revoke(within(t, 5*time.Second))
		} else if !errors.Is(err, ErrLeaseHeld) {
			t.Fatal(err)
		}
		return err == nil
	})
}

func TestLeaseIsRenewedWithoutWrites(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var passed []crash.Point
	endpoint, _, _ := ownEtcd(t)
	s := openAt(t, Config{Endpoints: []string{endpoint}, Hook: func(_ context.Context, p crash.Point) {
		mu.Lock()
		defer mu.Unlock()
		passed = append(passed, p)
	}})
	ctx := within(t, 30*time.Second)
	began := hostclock.SinceBoot()
	l := acquire(t, s, Instance{"server-1", "boot-1"})
	first := l.LastRenewal()
	if first < began || first > hostclock.SinceBoot() {
		t.Errorf("the lease counts from %v, acquired after %v", first, began)
	}
	before, err := s.Revision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * testTTL)
	after, err := s.Revision(ctx)
	if err != nil || after != before {
		t.Errorf("the revision went from %d to %d while idle (%v)", before, after, err)
	}
	if last := l.LastRenewal(); isDone(l) || last < first+testTTL || last > hostclock.SinceBoot() {
		t.Errorf("last renewed at %v, first at %v, done %v", last, first, isDone(l))
	}
	l.Revoke(ctx)
	mu.Lock()
	defer mu.Unlock()
	for _, p := range Points() {
		if p != PointTxnBefore && p != PointTxnAfter && !slices.Contains(passed, p) {
			t.Errorf("%s was not passed", p)
		}
	}
}

func TestLostLeaseIsNoticedAndTakenAgain(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 60*time.Second)
	me := Instance{"server-1", "boot-1"}
	for name, lose := range map[string]func(*Lease) error{
		"lease revoked": func(l *Lease) error { _, err := s.client.Revoke(ctx, l.id); return err },
		"key deleted":   func(l *Lease) error { _, err := s.client.Delete(ctx, s.full(l.key)); return err },
		"key put by hand": func(l *Lease) error {
			_, err := s.client.Put(ctx, s.full(l.key), `{"Name":"server-1","BootID":"boot-1"}`)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := acquire(t, s, me)
			if err := lose(l); err != nil {
				t.Fatal(err)
			}
			eventually(t, 2*testTTL, "the holder notices", func() bool { return isDone(l) })
			acquire(t, s, me).Revoke(ctx)
		})
	}
}

func TestLeaseOutlivesARestartOfEtcd(t *testing.T) {
	t.Parallel()
	endpoint, stop, start := ownEtcd(t)
	s := openAt(t, Config{Endpoints: []string{endpoint}})
	l := acquire(t, s, Instance{"server-1", "boot-1"})
	stop()
	time.Sleep(testTTL + time.Second)
	away := l.LastRenewal()
	if isDone(l) {
		t.Error("the lease is given up although etcd did not say that it is gone")
	}
	start()
	eventually(t, 10*time.Second, "the lease is renewed or lost", func() bool { return isDone(l) || l.LastRenewal() > away })
	if isDone(l) {
		t.Error("lost the lease, although etcd prolongs leases when it starts")
	}
	commit(t, s.Txn().Held(l))
}

func TestLeaseArguments(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 10*time.Second)
	for _, ttl := range []time.Duration{0, time.Second, 2500 * time.Millisecond, -time.Minute} {
		_, err := s.AcquirePoolLease(ctx, dot.PoolIDOf(1), Instance{"a", "b"}, ttl)
		wantCode(t, err, dot.CodeInvalid)
	}
	for _, me := range []Instance{{}, {Name: "a"}, {BootID: "b"}} {
		if _, err := s.AcquirePoolLease(ctx, dot.PoolIDOf(1), me, testTTL); err == nil {
			t.Errorf("%+v was accepted", me)
		}
	}
	if _, err := s.AcquirePoolLease(ctx, dot.PoolID{}, Instance{"a", "b"}, testTTL); err == nil {
		t.Error("no pool was accepted")
	}
	if leases, err := s.client.Leases(ctx); err != nil || slices.ContainsFunc(leases.Leases, func(l clientv3.LeaseStatus) bool { return l.ID == 0 }) {
		t.Errorf("got %v, %v", leases, err)
	}
}
