package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// head is a branch's head mounted in no namespace at all (fsmount(2)): nobody
// else can reach or copy the mount, a crash leaves none behind, and no other
// mount can lie on a directory seen through it.
type head struct {
	root     *os.File
	readOnly bool
}

// Close unmounts, once all files opened below it are closed.
func (h head) Close() error { return h.root.Close() }

// refuseReadOnly says that something of a head must be changed which is mounted
// read-only.
func (h head) refuseReadOnly(what string) error {
	return dot.Precondition("%s: dataset %s is mounted read-only; delete the pods that mount it so, and look whether the pool is imported read-only", what, h.root.Name())
}

// openHead mounts a head, read-write where it can be. Mounting it replays its
// intent log, which is remembered for as long as the pool stays imported.
func (e *Engine) openHead(ctx context.Context, id dot.BranchID, dataset zfs.Dataset) (head, error) {
	fd, err := attach(dataset, false)
	readOnly := errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EROFS)
	if readOnly {
		// All mounts of one dataset are read-only or none is; and a pool can be
		// imported read-only.
		fd, err = attach(dataset, true)
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		return head{}, dot.NotFound("branch %s is not on this pool: dataset %s does not exist", id, dataset)
	case err != nil:
		return head{}, dot.Errorf(dot.CodeInternal, "mounting %s: %w", dataset, err)
	}
	h := head{root: os.NewFile(uintptr(fd), dataset.String()), readOnly: readOnly}
	e.mounted.mark(ctx, id)
	return h, nil
}

// attach makes a detached mount and gives its root directory.
func attach(dataset zfs.Dataset, readOnly bool) (int, error) {
	config, err := unix.Fsopen("zfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(config)
	if err := unix.FsconfigSetString(config, "source", dataset.String()); err != nil {
		return -1, fmt.Errorf("source: %w", err)
	}
	flags := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOATIME
	if readOnly {
		if err := unix.FsconfigSetFlag(config, "ro"); err != nil {
			return -1, fmt.Errorf("ro: %w", err)
		}
		flags |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.FsconfigCreate(config); err != nil {
		return -1, err
	}
	fd, err := unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, flags)
	if err != nil {
		return -1, fmt.Errorf("fsmount: %w", err)
	}
	return fd, nil
}

// ensureReplayed mounts a head that was not mounted since the pool's import:
// until then the intent log of a power cut is not replayed, and a snapshot lacks
// what was fsynced.
func (e *Engine) ensureReplayed(ctx context.Context, id dot.BranchID, dataset zfs.Dataset) error {
	if e.mounted.has(id) {
		return nil
	}
	unlock, err := e.branches.lock(ctx, id)
	if err != nil {
		return err
	}
	return within(ctx, unlock, func() error {
		if e.mounted.has(id) {
			return nil
		}
		e.hook.Pass(ctx, BeforeReplay)
		h, err := e.openHead(ctx, id, dataset)
		if err != nil {
			return err
		}
		e.hook.Pass(ctx, AfterReplay)
		return h.Close()
	})
}

// within does work that a pool without I/O can block for ever. It returns when
// ctx ends; the work goes on, and only its end unlocks.
func within(ctx context.Context, unlock func(), work func() error) error {
	done := make(chan error, 1)
	go func() {
		defer unlock()
		done <- work()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return dot.Errorf(dot.CodeDeadline, "the file system has not answered in time; the operation goes on: %w", context.Cause(ctx))
	}
}

// mountedSince remembers which heads were mounted since the pool was imported,
// also across restarts of the server: as empty files in <dir>/<load_guid>.
type mountedSince struct {
	dir  string // of all imports
	here string // of this one
	// fenced: the fence was set since the import. It may have been lifted since.
	fenced bool
	mu     sync.Mutex
	seen   map[dot.BranchID]bool
}

// load reads what is remembered of this import and forgets earlier ones.
func (m *mountedSince) load(guid zfs.GUID) error {
	m.here = filepath.Join(m.dir, guid.String())
	m.seen = map[dot.BranchID]bool{}
	if err := os.MkdirAll(m.here, 0o700); err != nil {
		return dot.Errorf(dot.CodeInternal, "making the run directory: %w", err)
	}
	imports, err := os.ReadDir(m.dir)
	if err != nil {
		return dot.Errorf(dot.CodeInternal, "reading the run directory: %w", err)
	}
	for _, earlier := range imports {
		if earlier.Name() == guid.String() {
			continue
		}
		if err := os.RemoveAll(filepath.Join(m.dir, earlier.Name())); err != nil {
			return dot.Errorf(dot.CodeInternal, "forgetting an earlier import: %w", err)
		}
	}
	names, err := os.ReadDir(m.here)
	if err != nil {
		return dot.Errorf(dot.CodeInternal, "reading the run directory: %w", err)
	}
	for _, name := range names {
		if id, err := dot.ParseBranchID(name.Name()); err == nil {
			m.seen[id] = true
		}
		m.fenced = m.fenced || name.Name() == fencedFile
	}
	return nil
}

// rememberFence remembers, for this import, that the fence was set.
func (m *mountedSince) rememberFence() error {
	if err := os.WriteFile(filepath.Join(m.here, fencedFile), nil, 0o600); err != nil {
		return dot.Errorf(dot.CodeInternal, "remembering the fence: %w", err)
	}
	m.fenced = true
	return nil
}

// fencedFile is no branch's id.
const fencedFile = "fenced"

func (m *mountedSince) has(id dot.BranchID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[id]
}

// mark remembers a head. Where that cannot be written it is mounted once more
// after a restart of the server, which does no harm.
func (m *mountedSince) mark(ctx context.Context, id dot.BranchID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen[id] {
		return
	}
	m.seen[id] = true
	if err := os.WriteFile(filepath.Join(m.here, id.String()), nil, 0o600); err != nil {
		klog.FromContext(ctx).Error(err, "cannot remember that a head was mounted", "branch", id.String())
	}
}

func (m *mountedSince) forget(id dot.BranchID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.seen, id)
	_ = os.Remove(filepath.Join(m.here, id.String())) // a stale file is of a branch that never returns
}
