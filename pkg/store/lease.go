package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/hostclock"
)

// Points that a lease passes.
const (
	PointGrantBefore  crash.Point = "store.lease-grant.before"
	PointGrantAfter   crash.Point = "store.lease-grant.after"
	PointTakeBefore   crash.Point = "store.lease-take.before"
	PointTakeAfter    crash.Point = "store.lease-take.after"
	PointRenewBefore  crash.Point = "store.lease-renew.before"
	PointRenewAfter   crash.Point = "store.lease-renew.after"
	PointRevokeBefore crash.Point = "store.lease-revoke.before"
	PointRevokeAfter  crash.Point = "store.lease-revoke.after"
)

// Points lists the crash points of this package.
func Points() []crash.Point {
	return []crash.Point{
		PointTxnBefore, PointTxnAfter, PointGrantBefore, PointGrantAfter, PointTakeBefore, PointTakeAfter,
		PointRenewBefore, PointRenewAfter, PointRevokeBefore, PointRevokeAfter,
	}
}

// MinLeaseTTL is the shortest lease that AcquirePoolLease takes; etcd keeps them
// in whole seconds.
const MinLeaseTTL = 2 * time.Second

// Lease is a pool's: while it lasts nobody else serves the pool.
//
// It is renewed in the background, three times in its length, for as long as the
// store is open. While etcd is away renewing goes on being tried, because etcd
// lets no lease expire while it is away itself; how long the holder may act on
// the lease meanwhile is to be reckoned from LastRenewal, not from Done.
type Lease struct {
	s     *Store
	id    clientv3.LeaseID
	key   Key
	ttl   time.Duration
	stop  context.CancelFunc
	ended chan struct{} // the renewing goroutine has returned
	lost  chan struct{}

	mu      sync.Mutex
	renewed time.Duration
}

// AcquirePoolLease takes a pool's lease, in one attempt: ErrLeaseHeld when
// another instance holds it (its lease ends by itself; try again with a delay).
// The lease of an earlier run of the same instance on the same boot is taken
// over, and ends that run's Lease if it still lives. ctx is for the attempt, its
// logger for the lease.
func (s *Store) AcquirePoolLease(ctx context.Context, pool dot.PoolID, me Instance, ttl time.Duration) (*Lease, error) {
	if ttl < MinLeaseTTL || ttl%time.Second != 0 {
		return nil, dot.Invalid("a lease of %s is not possible: use whole seconds, at least %s", ttl, MinLeaseTTL)
	}
	s.TakeAsItIs() // the caller looks at everything anew under a new lease
	key := AliveKey(pool)
	value, err := instanceCodec.encode(key, me)
	if err != nil {
		return nil, err
	}
	old, revision, err := s.holder(ctx, key, me)
	if err != nil {
		return nil, err
	}
	l := &Lease{s: s, key: key, ttl: ttl, renewed: hostclock.SinceBoot(), ended: make(chan struct{}), lost: make(chan struct{})}
	if l.id, err = s.grant(ctx, ttl); err != nil {
		return nil, err
	}
	if err := s.take(ctx, l, value, revision); err != nil {
		s.revoke(context.WithoutCancel(ctx), l.id)
		return nil, err
	}
	if old != clientv3.NoLease {
		s.revoke(ctx, old)
	}
	running, stop := context.WithCancel(s.client.Ctx())
	l.stop = stop
	go l.keep(klog.NewContext(running, klog.FromContext(ctx)))
	return l, nil
}

// holder reads who has the key now: nothing, or an earlier run of me.
func (s *Store) holder(ctx context.Context, key Key, me Instance) (clientv3.LeaseID, int64, error) {
	var resp *clientv3.GetResponse
	err := s.call(ctx, "read the lease of pool "+key.Pool().String(), func(ctx context.Context) (err error) {
		resp, err = s.client.Get(ctx, s.full(key))
		return err
	})
	if err != nil || len(resp.Kvs) == 0 {
		return clientv3.NoLease, 0, err
	}
	kv := resp.Kvs[0]
	other, err := instanceCodec.decode(key, kv.Value)
	if err != nil {
		return 0, 0, err
	}
	if other != me {
		return 0, 0, dot.Errorf(dot.CodeAborted, "pool %s is served by %q: %w", key.Pool(), other.Name, ErrLeaseHeld)
	}
	return clientv3.LeaseID(kv.Lease), kv.ModRevision, nil
}

func (s *Store) grant(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, error) {
	var id clientv3.LeaseID
	s.hook.Pass(ctx, PointGrantBefore)
	err := s.call(ctx, "take a lease", func(ctx context.Context) error {
		resp, err := s.client.Grant(ctx, int64(ttl/time.Second))
		if err == nil {
			id = resp.ID
		}
		return err
	})
	s.hook.Pass(ctx, PointGrantAfter)
	return id, err
}

// take puts the key under the lease if it is still as it was read.
func (s *Store) take(ctx context.Context, l *Lease, value string, revision int64) error {
	key := s.full(l.key)
	var resp *clientv3.TxnResponse
	s.hook.Pass(ctx, PointTakeBefore)
	err := s.call(ctx, "take the lease of pool "+l.key.Pool().String(), func(ctx context.Context) (err error) {
		resp, err = s.client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
			Then(clientv3.OpPut(key, value, clientv3.WithLease(l.id))).
			Commit()
		return err
	})
	s.hook.Pass(ctx, PointTakeAfter)
	if err == nil && !resp.Succeeded {
		return dot.Errorf(dot.CodeAborted, "pool %s was taken by another server just now: %w", l.key.Pool(), ErrLeaseHeld)
	}
	return err
}

// revoke is a courtesy: a lease that is not revoked expires.
func (s *Store) revoke(ctx context.Context, id clientv3.LeaseID) {
	s.hook.Pass(ctx, PointRevokeBefore)
	err := s.call(ctx, "give up a lease", func(ctx context.Context) error {
		_, err := s.client.Revoke(ctx, id)
		return err
	})
	s.hook.Pass(ctx, PointRevokeAfter)
	if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		klog.FromContext(ctx).V(2).Info("lease not revoked, it will expire", "err", err)
	}
}

// Done is closed when the lease is known to be lost, or was revoked, or the store
// was closed.
func (l *Lease) Done() <-chan struct{} { return l.lost }

// LastRenewal is when the last request that renewed the lease was about to be
// sent, on hostclock.
func (l *Lease) LastRenewal() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewed
}

// Breaks tells how often the connection to etcd was lost, since the store was
// opened. While etcd was stopped it may have been put back to an earlier state, even
// one with this lease in it and with a revision that is not lower (etcdutl(1),
// --bump-revision): then everything is to be looked at anew.
func (l *Lease) Breaks() uint64 { return l.s.breaks.Load() }

// Guard has a transaction require that the lease is still ours, as Txn.Held does.
func (l *Lease) Guard(t *Txn) { t.Held(l) }

// Revoke gives the lease up, so that another may take it at once. Done is closed
// before etcd is told.
func (l *Lease) Revoke(ctx context.Context) {
	l.stop()
	<-l.ended
	l.s.revoke(ctx, l.id)
}

// keep renews the lease until it is lost or given up.
func (l *Lease) keep(ctx context.Context) {
	defer close(l.ended)
	defer close(l.lost)
	const hasty = 500 * time.Millisecond
	logger := klog.FromContext(ctx)
	next := time.NewTimer(l.ttl / 3)
	defer next.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		sent := hostclock.SinceBoot()
		err := l.renew(ctx)
		switch {
		case err == nil:
			l.mu.Lock()
			l.renewed = sent
			l.mu.Unlock()
			next.Reset(l.ttl / 3)
		case errors.Is(err, errLeaseGone):
			logger.Info("lost the lease", "pool", l.key.Pool(), "because", err)
			return
		case !failing && ctx.Err() == nil:
			logger.Info("cannot renew the lease, trying on", "pool", l.key.Pool(), "err", err)
			fallthrough
		default:
			next.Reset(hasty)
		}
		failing = err != nil
	}
}

var errLeaseGone = errors.New("the lease is gone")

// renew asks etcd to count from anew, and looks whether the key is still ours:
// it could have been deleted, or come from a backup.
func (l *Lease) renew(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, min(l.s.timeout, l.ttl/3))
	defer cancel()
	l.s.hook.Pass(ctx, PointRenewBefore)
	defer l.s.hook.Pass(ctx, PointRenewAfter)
	// The client's KeepAliveOnce tries again without a pause while etcd is away.
	stream, err := etcdserverpb.NewLeaseClient(l.s.client.ActiveConnection()).LeaseKeepAlive(clientv3.WithRequireLeader(bounded))
	if err != nil {
		return err
	}
	if err := stream.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: int64(l.id)}); err != nil {
		return err
	}
	resp, err := stream.Recv()
	if err != nil {
		return err
	}
	if resp.TTL <= 0 {
		return errLeaseGone
	}
	key, err := l.s.client.Get(bounded, l.s.full(l.key))
	if errors.Is(err, ErrWentBack) {
		return fmt.Errorf("%w: %w", errLeaseGone, err)
	}
	if err != nil {
		return err
	}
	if len(key.Kvs) == 0 || key.Kvs[0].Lease != int64(l.id) {
		return errLeaseGone
	}
	return nil
}
