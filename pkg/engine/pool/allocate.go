package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// allocate makes the file under another name and then gives it its own, so that
// a file of that name always has its size and marker.
func (c Config) allocate(ctx context.Context) (*os.File, error) {
	if err := os.MkdirAll(c.Location, 0o700); err != nil {
		return nil, dot.Errorf(dot.CodePrecondition, "making the pool's location: %w", err)
	}
	fresh := filepath.Join(c.Location, "."+c.Name.String()+".pool.new")
	file, err := os.OpenFile(fresh, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, dot.Errorf(dot.CodePrecondition, "making the pool file: %w", err)
	}
	c.Hook.Pass(ctx, BeforeAllocate)
	if c.SizeBytes, err = c.wanted(file); err == nil {
		err = c.fill(file, fresh)
	}
	if err != nil {
		file.Close()
		return nil, errors.Join(err, os.Remove(fresh))
	}
	c.Hook.Pass(ctx, AfterAllocate)
	return file, nil
}

func (c Config) fill(file *os.File, fresh string) error {
	if err := c.extend(file, 0); err != nil {
		return err
	}
	m := marker{Pool: c.Name.String(), Size: c.SizeBytes}
	if err := m.write(file); err != nil {
		return err
	}
	err := unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, c.path(), unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) { // a file system that cannot promise it
		err = os.Rename(fresh, c.path())
	}
	if err != nil {
		return fmt.Errorf("naming the pool file: %w", err)
	}
	dir, err := os.Open(c.Location)
	if err != nil {
		return fmt.Errorf("naming the pool file: %w", err)
	}
	defer dir.Close()
	return dir.Sync()
}

// extend allocates the file up to its size. A failure leaves it as large as it
// was.
func (c Config) extend(file *os.File, from int64) error {
	var err error
	if c.Sparse {
		err = file.Truncate(c.SizeBytes)
	} else if err = hasRoom(file, c.SizeBytes-from); err == nil {
		err = unix.Fallocate(int(file.Fd()), 0, from, c.SizeBytes-from)
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		return nil
	}
	err = errors.Join(err, file.Truncate(from))
	if errors.Is(err, unix.ENOSPC) {
		return dot.Errorf(dot.CodeExhausted, "%s has no room for a pool file of %d bytes: make room, lower --pool-size, or choose another --pool-location: %w", c.Location, c.SizeBytes, err)
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		return dot.Errorf(dot.CodePrecondition, "the file system of %s cannot allocate a file in advance: choose another --pool-location, or allow a sparse pool file: %w", c.Location, err)
	}
	return fmt.Errorf("allocating the pool file: %w", err)
}

// hasRoom gives ENOSPC where the file's file system has less. fallocate(2) itself takes
// all there is before it says so, from kubelet and etcd too where they share the disk.
func hasRoom(file *os.File, bytes int64) error {
	var in unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &in); err != nil {
		return fmt.Errorf("looking for room: %w", err)
	}
	if bytes > int64(in.Bavail)*in.Frsize {
		return unix.ENOSPC
	}
	return nil
}
