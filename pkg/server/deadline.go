package server

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/atomicfile"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// deadlineFile tells the node service until when the pool's heads may be written.
type deadlineFile struct {
	dir     string // the pool's run directory
	dataset string // what to set readonly
	bootID  string
}

// write puts the deadline in place while no fence of an earlier one is being put
// on (dot.FenceLockFile).
func (f deadlineFile) write(ctx context.Context, at time.Duration) error {
	b, err := json.Marshal(dot.FenceDeadline{BootID: f.bootID, At: at, Dataset: f.dataset})
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(f.dir, dot.FenceLockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return dot.Errorf(dot.CodeInternal, "open the lock of the deadline: %w", err)
	}
	defer func() { _ = lock.Close() }()
	// Who holds it runs one zfs command, with a deadline of its own. One that is
	// frozen is not waited for: the lease has to be looked after.
	const wait = 5 * time.Second
	taken, err := flock(ctx, lock, wait, func() {})
	if err != nil {
		return err
	}
	if !taken {
		return dot.Unavailable("the node service has held the lock of the fence's deadline for more than %s: is it stopped in the middle of something?", wait)
	}
	if err := atomicfile.Write(filepath.Join(f.dir, dot.FenceDeadlineFile), b, 0o600); err != nil {
		return dot.Errorf(dot.CodeInternal, "write the deadline: %w", err)
	}
	return nil
}

// read gives the deadline that an earlier run of this boot left, 0 for none.
func (f deadlineFile) read() (time.Duration, error) {
	b, err := os.ReadFile(filepath.Join(f.dir, dot.FenceDeadlineFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, dot.Errorf(dot.CodeInternal, "read the deadline: %w", err)
	}
	d, err := dot.ParseFenceDeadline(b)
	if err != nil || d.BootID != f.bootID {
		return 0, nil //nolint:nilerr // of another boot, or not of ours: it says nothing
	}
	return d.At, nil
}
