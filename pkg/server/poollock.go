package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

const (
	poolLockFile = "lock"
	// poolLockWait is how long a server waits for the one before it to end: the
	// predecessor in a container that is being replaced finishes its calls first.
	poolLockWait = 30 * time.Second
)

// lockPool takes the lock in a directory, which keeps every other server process of
// this machine away from a pool for as long as this one lives, and the ZFS commands
// that change something and have the file open too (zfs.Client.Holding): the kernel
// lets go of it with the last of them. A command outlives a server that is killed,
// and what it does after the next one has listed the pool would never be seen.
//
// It waits for at most so long; CodeUnavailable when it was kept all the time, as by
// a command that waits for a suspended pool: the start goes on, and tells why.
func lockPool(ctx context.Context, dir string, wait time.Duration) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, dot.Errorf(dot.CodeInternal, "make the pool's run directory: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, poolLockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, dot.Errorf(dot.CodeInternal, "open the pool's lock: %w", err)
	}
	if err := waitForLock(ctx, file, wait); err != nil {
		_ = file.Close()
		return nil, err
	}
	// For who finds it taken.
	err = file.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintln(file, os.Getpid())
	}
	if err != nil {
		klog.FromContext(ctx).Error(err, "cannot note in the pool's lock who holds it", "file", file.Name())
	}
	return file, nil
}

func waitForLock(ctx context.Context, file *os.File, wait time.Duration) error {
	taken, err := flock(ctx, file, wait, func() {
		klog.FromContext(ctx).Info("waiting for an earlier server of the pool to end", "holder", holderOf(file), "lock", file.Name())
	})
	if err == nil && !taken {
		err = dot.Unavailable("another dotmesh server of this machine (%s) serves the pool, or a ZFS command that it began still runs, and has not ended within %s: stop it first, or give this one another pool; its lock is %s", holderOf(file), wait, file.Name())
	}
	return err
}

// flock takes a file's lock, or tells that another process has kept it for all of
// wait. waits is called once, when there is something to wait for.
func flock(ctx context.Context, file *os.File, wait time.Duration, waits func()) (taken bool, err error) {
	const look = 50 * time.Millisecond
	deadline := time.Now().Add(wait)
	for told := false; ; told = true {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return false, dot.Errorf(dot.CodeInternal, "lock %s: %w", file.Name(), err)
		case time.Now().After(deadline):
			return false, nil
		}
		if !told {
			waits()
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(look):
		}
	}
}

// holderOf reads who took the lock, "pid 7"; its pid is that of its own container
// where that has pids of its own.
func holderOf(file *os.File) string {
	const most = 32
	b, err := io.ReadAll(io.NewSectionReader(file, 0, most))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return "pid " + pid
	}
	return "pid not known yet"
}
