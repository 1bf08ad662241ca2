package pool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// marker is what a pool file says near its beginning: the magic line, JSON, and
// zeros. It lies in vl_pad1 of the first label (vdev_impl.h), the 8 KiB that the
// kernel leaves to boot blocks and never touches, and in the second half of it:
// zpool-create(8) zeroes the first 4 KiB of a device (zero_label in
// cmd/zpool/zpool_vdev.c) before there is a pool on it.
type marker struct {
	Pool    string `json:"pool"`
	Cluster string `json:"cluster,omitempty"`
	// Size is what the pool is known to span. A file that is larger was grown
	// when a crash came.
	Size int64 `json:"size"`
	// Made: a pool was made in the file, so that not finding one is a fault.
	Made bool `json:"made"`
}

const (
	magic        = "dotmesh.csi pool file 1\n"
	markerOffset = 4096
	markerSize   = 4096
)

func readMarker(file *os.File) (marker, bool, error) {
	page := make([]byte, markerSize)
	if n, err := file.ReadAt(page, markerOffset); err != nil && !(errors.Is(err, io.EOF) && n >= 0) {
		return marker{}, false, fmt.Errorf("reading the pool file: %w", err)
	}
	m, ok := parseMarker(page)
	return m, ok, nil
}

func parseMarker(page []byte) (marker, bool) {
	body, ok := bytes.CutPrefix(page, []byte(magic))
	if !ok {
		return marker{}, false
	}
	body, _, _ = bytes.Cut(body, []byte{0})
	var m marker
	if err := json.Unmarshal(body, &m); err != nil || m.Pool == "" {
		return marker{}, false
	}
	return m, true
}

func (m marker) page() ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("marker of the pool file: %w", err)
	}
	if len(magic)+len(body) >= markerSize {
		return nil, dot.Invalid("the cluster's id has %d bytes: it is too long", len(m.Cluster))
	}
	page := make([]byte, markerSize)
	copy(page[copy(page, magic):], body)
	return page, nil
}

func (m marker) write(file *os.File) error {
	page, err := m.page()
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(page, markerOffset); err != nil {
		return fmt.Errorf("marking the pool file: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("marking the pool file: %w", err)
	}
	return nil
}

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
	if err := c.fill(file, fresh); err != nil {
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
	m := marker{Pool: c.Name.String(), Cluster: c.ClusterID, Size: c.SizeBytes}
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
	} else {
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
