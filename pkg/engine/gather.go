package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

const (
	// gatherTimeout bounds one batch, which no caller's context ends: others
	// wait for it too.
	gatherTimeout = time.Minute
	gatherItems   = 200
	gatherBytes   = zfs.MaxSnapshotBytes / 2
)

// gatherer lets snapshots that are asked for while others are taken go together
// in the next command. It has no timer: the first of a quiet moment goes at once.
// ZFS takes one snapshot of a filesystem per txg, so that a command has at most
// one of each: commits of many branches gain, those of one branch queue.
type gatherer struct {
	take    func(context.Context, []zfs.SnapshotSpec) ([]zfs.SnapshotResult, error)
	mu      sync.Mutex
	waiting []*gathered
	running bool
	batch   chan struct{} // closed when the command that runs has ended; nil: none yet
}

type gathered struct {
	ctx    context.Context
	spec   zfs.SnapshotSpec
	result zfs.SnapshotResult
	err    error
	done   chan struct{}
}

// snapshot returns when the snapshot was taken, or ctx ended: then it is either
// never taken, or on its way.
func (g *gatherer) snapshot(ctx context.Context, spec zfs.SnapshotSpec) (zfs.SnapshotResult, error) {
	item := &gathered{ctx: ctx, spec: spec, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, item)
	start := !g.running
	g.running = true
	g.mu.Unlock()
	if start {
		go g.run()
	}
	select {
	case <-item.done:
		return item.result, item.err
	case <-ctx.Done():
		return zfs.SnapshotResult{}, fmt.Errorf("waiting for the snapshot: %w", context.Cause(ctx))
	}
}

// run takes batches until nobody waits.
func (g *gatherer) run() {
	for batch := g.next(); len(batch) > 0; batch = g.next() {
		g.takeBatch(batch)
	}
}

// takeBatch keeps the first caller's values (its logger) without its end.
func (g *gatherer) takeBatch(batch []*gathered) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), gatherTimeout)
	defer cancel()
	defer close(g.batch) // which only this goroutine writes
	specs := make([]zfs.SnapshotSpec, len(batch))
	for i, item := range batch {
		specs[i] = item.spec
	}
	results, err := g.take(ctx, specs)
	if err == nil && len(results) != len(batch) {
		err = fmt.Errorf("%d results for %d snapshots", len(results), len(batch))
	}
	for i, item := range batch {
		if item.err = err; err == nil {
			item.result = results[i]
		}
		close(item.done)
	}
}

// await waits for the end of the command that runs: what it takes for callers that
// have given up is known then.
func (g *gatherer) await(ctx context.Context) error {
	g.mu.Lock()
	batch := g.batch
	g.mu.Unlock()
	if batch == nil {
		return nil
	}
	select {
	case <-batch:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// next takes out of the queue what goes together: whose callers still wait, no
// filesystem twice, and no more than one command holds. When there is nothing left
// the runner ends, under the same lock that lets the next caller start one.
func (g *gatherer) next() []*gathered {
	g.mu.Lock()
	defer g.mu.Unlock()
	var batch, later []*gathered
	chosen := map[zfs.Dataset]bool{}
	bytes := 0
	for _, item := range g.waiting {
		switch size := specSize(item.spec); {
		case item.ctx.Err() != nil:
			item.err = context.Cause(item.ctx)
			close(item.done)
		case chosen[item.spec.Snapshot.Dataset()], len(batch) == gatherItems, len(batch) > 0 && bytes+size > gatherBytes:
			later = append(later, item)
		default:
			batch = append(batch, item)
			chosen[item.spec.Snapshot.Dataset()] = true
			bytes += size
		}
	}
	g.waiting = later
	if g.running = len(batch) > 0; g.running {
		g.batch = make(chan struct{})
	}
	return batch
}

func specSize(spec zfs.SnapshotSpec) int {
	const pointer = 16
	size := len(spec.Snapshot.String()) + 2*pointer
	for name, value := range spec.Props {
		size += len(name) + len(value) + 2*pointer
	}
	return size
}
