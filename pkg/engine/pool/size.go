package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/loop"
)

// A file that is to be as large as its file system allows leaves it this much, and
// grows in steps, so that it is not grown by a few blocks at every start.
const (
	leftFree = 16 << 20
	growStep = 16 << 20
)

// size is what the file or device has, which must be what the configuration says that
// it is.
func (c Config) size(file *os.File) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, fmt.Errorf("looking at %s: %w", c.path(), err)
	}
	block := info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0
	switch {
	case c.Device != "" && !block:
		return 0, dot.Precondition("%s is not a block device: nothing was changed; give another --pool-device", c.path())
	case c.Device == "" && !info.Mode().IsRegular():
		return 0, dot.Precondition("%s is not a file: nothing was changed; move it away, or choose another --pool-name", c.path())
	}
	size, err := file.Seek(0, io.SeekEnd) // a device's Stat tells none
	if err != nil {
		return 0, fmt.Errorf("looking at %s: %w", c.path(), err)
	}
	return size, nil
}

// wanted is what the file or device is to have: never less than it has, as no pool
// shrinks.
func (c Config) wanted(file *os.File) (int64, error) {
	size, err := c.size(file)
	if c.SizeBytes != 0 {
		return max(size, c.SizeBytes), err
	}
	if err == nil && c.Device == "" {
		size, err = c.room(file, size)
	}
	if err == nil && size < MinSize {
		err = dot.Precondition("%s has room for a pool of %d bytes, which is too few: give it at least %d", c.path(), size, int64(MinSize))
	}
	return size, err
}

// room is how large a file can become that has so many bytes.
func (c Config) room(file *os.File, size int64) (int64, error) {
	var of unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &of); err != nil {
		return 0, fmt.Errorf("looking at %s: %w", c.path(), err)
	}
	var in unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &in); err != nil {
		return 0, fmt.Errorf("looking for room in %s: %w", c.Location, err)
	}
	const sector = 512 // the unit of st_blocks, whatever the file system's is
	return fitting(size, of.Blocks*sector, int64(in.Bavail)*in.Frsize), nil
}

// fitting is the size of a file that takes what it has allocated and what is free, but
// what is left to the file system. It never shrinks.
func fitting(size, allocated, free int64) int64 {
	return max(size, (allocated+free-leftFree)/growStep*growStep)
}

// Grow makes an imported pool span what its device, or its file system, has come to
// have since it was opened. It starts a process only where that is more. Nobody may
// export the pool meanwhile.
func Grow(ctx context.Context, cfg Config) (bool, error) {
	file, err := os.OpenFile(cfg.path(), os.O_RDWR, 0)
	if err != nil {
		return false, fmt.Errorf("opening what the pool lies on: %w", err)
	}
	defer file.Close()
	if cfg.SizeBytes, err = cfg.wanted(file); err != nil {
		return false, err
	}
	mark, err := cfg.vet(file)
	if err != nil || mark.Size >= cfg.SizeBytes {
		return false, err
	}
	// The marker is written with the assignment: not by one of the past.
	if err := cfg.Assignment.vet(mark, true); err != nil {
		return false, err
	}
	device, err := loop.Find(file)
	if err != nil {
		return false, fmt.Errorf("finding the pool's loop device: %w", err)
	}
	var opened Opened
	if err := cfg.settle(ctx, file, mark, device, &opened); err != nil {
		return false, err
	}
	if opened.Problem != "" {
		return false, errors.New(opened.Problem)
	}
	return opened.Grown, nil
}
