package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// Health is how the pool is.
type Health struct {
	State string // ONLINE, DEGRADED, SUSPENDED …
	// Writes: a txg reached stable storage within the deadline.
	Writes bool
	// Took is how long that took.
	Took time.Duration
	// Problem is a sentence for the admin, "" when all is well.
	Problem                          string
	SizeBytes, FreeBytes             int64
	CapacityPercent, FragmentPercent int
}

// fullPercent: above it ZFS looks long for room and everything slows down.
const fullPercent = 90

// probe lets one check of the pool run at a time: on a pool without I/O each
// leaves a process that cannot be killed.
type probe struct {
	mu      sync.Mutex
	running *probing
}

type probing struct {
	done   chan struct{}
	health Health
	err    error
}

// Health waits at most deadline (and ctx) for a txg. One check runs at a time;
// others meanwhile get its answer.
func (e *Engine) Health(ctx context.Context, deadline time.Duration) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	e.probe.mu.Lock()
	p := e.probe.running
	if p == nil {
		p = &probing{done: make(chan struct{})}
		e.probe.running = p
		go e.check(context.WithoutCancel(ctx), deadline, p)
	}
	e.probe.mu.Unlock()
	select {
	case <-p.done:
		return p.health, p.err
	case <-ctx.Done():
		return Health{State: zfs.HealthSuspended, Took: deadline,
			Problem: fmt.Sprintf("pool %s has not written anything within %s: look at zpool status and at the disk that it lies on", e.root.Pool(), deadline)}, nil
	}
}

func (e *Engine) check(ctx context.Context, deadline time.Duration, p *probing) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	defer func() {
		e.probe.mu.Lock()
		e.probe.running = nil
		e.probe.mu.Unlock()
		close(p.done)
	}()
	health, err := e.State(ctx)
	if err != nil {
		p.err = err
		return
	}
	name, start := e.root.Pool(), time.Now()
	err = e.zfs.Sync(ctx, name)
	health.Took, health.Writes = time.Since(start), err == nil
	switch {
	case errors.Is(err, zfs.ErrSuspended), errors.Is(err, context.DeadlineExceeded), errors.Is(err, zfs.ErrStuck):
		health.State, health.Problem = zfs.HealthSuspended, cannotWrite(name)
	case err != nil:
		p.err = explain(err, "writing to pool %s", name)
	}
	p.health = health
}

// State is Health without the wait for a txg: what ZFS knows already. One process,
// which writes nothing.
func (e *Engine) State(ctx context.Context) (Health, error) {
	name := e.root.Pool()
	pool, err := e.zfs.Pool(ctx, name)
	if err != nil {
		return Health{}, explain(err, "looking at pool %s", name)
	}
	health := Health{
		State: pool.Health, Writes: pool.Health != zfs.HealthSuspended, SizeBytes: int64(pool.Size), FreeBytes: int64(pool.Free),
		CapacityPercent: int(pool.Capacity), FragmentPercent: int(pool.Fragmentation),
	}
	switch {
	case !health.Writes:
		health.Problem = cannotWrite(name)
	case pool.Health != zfs.HealthOnline:
		health.Problem = fmt.Sprintf("pool %s is %s: look at zpool status", name, pool.Health)
	case pool.Capacity >= fullPercent:
		health.Problem = fmt.Sprintf("pool %s is %d %% full: delete commits or dots, or raise its size", name, pool.Capacity)
	}
	return health, nil
}

func cannotWrite(pool zfs.PoolName) string {
	return fmt.Sprintf("pool %s cannot write: look at zpool status and at the disk that it lies on", pool)
}
