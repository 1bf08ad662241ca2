package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/hostclock"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

const (
	// watchInterval is how late a fence can be; it is small against the time
	// between fence and take-over.
	watchInterval = time.Second
	// fenceTimeout bounds one attempt.
	fenceTimeout = 20 * time.Second
)

// watcher sets the fence of a pool whose deadline has passed. The server does so
// itself; this is for one that was killed or hangs, while pods go on writing.
type watcher struct {
	runDir string
	bootID string
	fence  zfs.Fence
	now    func() time.Duration // hostclock
	// done holds, per pool, the deadline for which the fence was set.
	done map[string]dot.FenceDeadline
}

func newWatcher(runDir string, fence zfs.Fence) (*watcher, error) {
	id, err := hostclock.BootID()
	if err != nil {
		return nil, err
	}
	return &watcher{
		runDir: runDir, bootID: id, fence: fence,
		now: hostclock.SinceBoot, done: map[string]dot.FenceDeadline{},
	}, nil
}

// run looks at every pool until ctx ends.
func (w *watcher) run(ctx context.Context) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.look(ctx)
		}
	}
}

func (w *watcher) look(ctx context.Context) {
	entries, err := os.ReadDir(w.runDir)
	if err != nil {
		return // no server has run here yet
	}
	for _, e := range entries {
		pool, err := dot.ParsePoolID(e.Name())
		if err != nil {
			continue
		}
		if err := w.lookAt(ctx, pool.String()); err != nil {
			klog.FromContext(ctx).Error(err, "the fence of a pool could not be looked after", "pool", pool)
		}
	}
}

// lookAt first reads without the lock, which is free of cost and nearly always
// enough, then again with it: the server writes a later deadline under that lock
// before it lifts the fence, so that this fence is never the last word.
func (w *watcher) lookAt(ctx context.Context, pool string) error {
	if d, err := w.passed(pool); err != nil || d == nil {
		return err
	}
	unlock, err := lock(filepath.Join(w.runDir, pool, dot.FenceLockFile))
	if err != nil {
		return err
	}
	defer unlock()
	d, err := w.passed(pool)
	if err != nil || d == nil {
		return err
	}
	dataset, err := zfs.ParseDataset(d.Dataset)
	if err != nil {
		return fmt.Errorf("deadline of the fence: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	if err := w.fence(ctx, dataset, true); err != nil {
		return fmt.Errorf("fence %s: %w", d.Dataset, err)
	}
	w.done[pool] = *d
	klog.FromContext(ctx).Info("fenced: the pool's server did not renew its lease in time", "pool", pool, "dataset", d.Dataset)
	return nil
}

// passed gives a deadline that has passed and was not acted on, else nil.
func (w *watcher) passed(pool string) (*dot.FenceDeadline, error) {
	content, err := os.ReadFile(filepath.Join(w.runDir, pool, dot.FenceDeadlineFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, err := dot.ParseFenceDeadline(content)
	if err != nil {
		return nil, err
	}
	if d.BootID != w.bootID || w.now() < d.At || w.done[pool] == d {
		return nil, nil
	}
	return &d, nil
}

// lock takes an advisory lock without waiting: who has it is about to renew.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the deadline: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the deadline: %w", err)
	}
	return func() { f.Close() }, nil
}
