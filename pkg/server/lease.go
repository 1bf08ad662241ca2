package server

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

const (
	leaseTTL = 15 * time.Second
	// promisedFence is how long after its last successful renewal was sent a
	// server may still write. Who takes its place, as nothing does yet, must wait
	// longer than that.
	promisedFence = 120 * time.Second

	// longestLook bounds a comparison of pool and registry, whose size nobody knows.
	longestLook = 15 * time.Minute

	leaseRetry = time.Second
	leaseTick  = leaseTTL / 3
)

// heldLease is what the keeper needs of a *store.Lease.
type heldLease interface {
	Done() <-chan struct{}
	LastRenewal() time.Duration
	Breaks() uint64
	Guard(*store.Txn)
	Revoke(context.Context)
}

// leaseKeeper holds the pool's lease, keeps the promise that goes with it, and
// takes a lost lease again.
//
// The promise: when promised has passed since the last renewal was sent, the
// heads that another pool could take over are read-only. The deadline lies in a
// file too, where dotmesh node reads it, and outlives a restart of the server.
// The fence is lifted only while the lease is held and after the registry was
// asked which heads are still ours.
type leaseKeeper struct {
	acquire func(context.Context) (heldLease, error)
	// begin compares the pool with the registry whenever the lease was taken, or the
	// connection to etcd was lost, and nobody else can change either: the registry
	// may have been put back meanwhile. later tells that it is not for the first
	// time. An error that does not pass by itself goes to failed, and the keeper
	// serves nothing.
	begin  func(ctx context.Context, lease heldLease, later bool) error
	failed chan error
	// check reads the epochs and makes heads that are no longer ours read-only.
	check    func(context.Context) error
	fence    func(ctx context.Context, on bool) error
	record   func(ctx context.Context, at time.Duration) error // writes the deadline where the node service sees it
	boot     func() time.Duration                              // CLOCK_BOOTTIME
	promised time.Duration
	observe  func(held bool)

	mu     sync.Mutex
	held   heldLease     // nil: not serving
	breaks uint64        // of the connection, when begin began
	served chan struct{} // closed when it serves for the first time
	once   sync.Once

	// The rest belongs to the goroutine that calls step.
	lease    heldLease
	deadline time.Duration // 0: none known
	fenced   bool
	lifted   bool // the fence was lifted in this reign
	begun    bool // begin is done, in this reign and on this connection
	later    bool // begin was done once
}

// current gives the lease that transactions compare; CodeUnavailable while there
// is none.
func (k *leaseKeeper) current() (heldLease, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held == nil {
		return nil, dot.Unavailable("this server does not hold its pool's lease at the moment; try again")
	}
	if k.held.Breaks() != k.breaks {
		return nil, dot.Unavailable("this server has lost its connection to etcd and looks again at what the registry says; try again")
	}
	return k.held, nil
}

// step does what is due and tells when to look again.
func (k *leaseKeeper) step(ctx context.Context) time.Duration {
	logger := klog.FromContext(ctx)
	if k.lease != nil && isDone(k.lease) {
		logger.Info("lost the pool's lease, taking it again")
		k.lease, k.lifted, k.begun = nil, false, false
		k.serve(nil)
	}
	if k.lease != nil && k.begun && k.lease.Breaks() != k.breaks {
		logger.Info("lost the connection to etcd, comparing the registry with the pool again")
		k.lifted, k.begun = false, false
		k.serve(nil)
	}
	if k.lease == nil {
		lease, err := k.acquire(ctx)
		if err != nil {
			k.fenceIfDue(ctx)
			if errors.Is(err, store.ErrLeaseHeld) {
				logger.Info("waiting for the lease of an earlier server to end", "because", err)
			} else if ctx.Err() == nil {
				logger.Info("cannot take the pool's lease, trying on", "because", err)
			}
			return leaseRetry
		}
		k.lease = lease
	}
	if !k.extend(ctx) {
		return leaseRetry
	}
	if !k.lifted {
		if err := k.lift(ctx); err != nil {
			logger.Error(err, "cannot allow writes yet")
			return leaseRetry
		}
	}
	return k.untilNext()
}

// extend records until when the last renewal lets the heads be written. It tells
// false when that is over, and then fences, or when it cannot be recorded.
func (k *leaseKeeper) extend(ctx context.Context) bool {
	due := k.due()
	if k.boot() >= due {
		k.deadline = due
		k.fenceIfDue(ctx)
		return false
	}
	if due != k.deadline {
		if err := k.record(ctx, due); err != nil {
			// Without it the node service cannot keep the promise for us.
			klog.FromContext(ctx).Error(err, "cannot record until when this pool may write")
			return false
		}
		k.deadline = due
	}
	return true
}

func (k *leaseKeeper) due() time.Duration { return k.lease.LastRenewal() + k.promised }

// untilNext is how long nothing is due.
func (k *leaseKeeper) untilNext() time.Duration {
	if left := k.deadline - k.boot(); left > 0 {
		return min(leaseTick, left)
	}
	return leaseRetry
}

// fenceIfDue stops the writers when the promised time is over.
func (k *leaseKeeper) fenceIfDue(ctx context.Context) {
	if k.deadline == 0 || k.boot() < k.deadline || k.fenced {
		return
	}
	k.serve(nil)
	k.lifted = false
	if err := k.fence(ctx, true); err != nil {
		klog.FromContext(ctx).Error(err, "FENCE FAILED: heads that another pool may take over are still writable")
		return
	}
	k.fenced = true
	klog.FromContext(ctx).Info("fenced: the lease was not renewed in the promised time")
}

// lift lets the heads be written again. What it does after the comparison ends before
// the fence is due.
func (k *leaseKeeper) lift(ctx context.Context) error {
	if !k.begun {
		if err := k.compare(ctx); err != nil {
			return err
		}
		if !k.extend(ctx) {
			return dot.Unavailable("the lease was not renewed, or that could not be recorded, when the registry had been compared with the pool")
		}
	}
	bounded, cancel := context.WithTimeout(ctx, k.deadline-k.boot())
	defer cancel()
	if err := k.check(bounded); err != nil {
		return err
	}
	// A lift that reports an error may have taken effect: the fence is due again.
	k.fenced = false
	if err := k.fence(bounded, false); err != nil {
		return err
	}
	k.lifted = true
	k.serve(k.lease)
	return nil
}

// compare runs begin, and has the server ended by what does not pass by itself.
func (k *leaseKeeper) compare(ctx context.Context) error {
	breaks := k.lease.Breaks()
	if err := k.runBegin(ctx); err != nil {
		if !passes(err) {
			select {
			case k.failed <- err:
			default: // it is known to have failed
			}
		}
		return err
	}
	k.mu.Lock()
	k.breaks = breaks
	k.mu.Unlock()
	k.begun, k.later = true, true
	return nil
}

// runBegin keeps the promise while begin runs, which may take longer than that lasts:
// pods may be writing. begin is stopped when the lease is lost, or was not renewed in
// the promised time; the fence does not wait for its end, but all else does.
func (k *leaseKeeper) runBegin(ctx context.Context) error {
	bounded, stop := context.WithTimeout(ctx, longestLook)
	defer stop()
	ended := make(chan error, 1)
	lease, later, lost := k.lease, k.later, k.lease.Done()
	go func() { ended <- k.begin(bounded, lease, later) }()
	timer := time.NewTimer(k.untilNext())
	defer timer.Stop()
	for {
		select {
		case err := <-ended:
			if stopped := bounded.Err(); stopped != nil {
				return dot.Unavailable("comparing the registry with the pool was stopped: %w", cmp.Or(err, stopped))
			}
			return err
		case <-lost:
			lost = nil
			stop()
		case <-timer.C:
			if k.boot() >= k.due() {
				stop()
			}
			k.extend(ctx)
			timer.Reset(k.untilNext())
		}
	}
}

func (k *leaseKeeper) serve(l heldLease) {
	k.mu.Lock()
	k.held = l
	k.mu.Unlock()
	if l != nil && k.served != nil {
		k.once.Do(func() { close(k.served) })
	}
	k.observe(l != nil)
}

// run looks after the lease until ctx ends. It is renewed on, and nothing is served
// under it any more, until giveUp.
func (k *leaseKeeper) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var lost <-chan struct{}
		if k.lease != nil {
			lost = k.lease.Done()
		}
		select {
		case <-ctx.Done():
			k.serve(nil)
			return
		case <-lost:
		case <-timer.C:
		}
		timer.Reset(k.step(ctx))
	}
}

// giveUp is called after run has ended.
func (k *leaseKeeper) giveUp(ctx context.Context) {
	if k.lease == nil {
		return
	}
	const polite = 3 * time.Second
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), polite)
	defer cancel()
	k.lease.Revoke(bounded)
}

func isDone(l heldLease) bool {
	select {
	case <-l.Done():
		return true
	default:
		return false
	}
}
