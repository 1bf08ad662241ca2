package pool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// marker is what a pool file, or a disk, says near its beginning: the magic line,
// JSON, and zeros. It lies in vl_pad1 of the first label (vdev_impl.h), the 8 KiB that the
// kernel leaves to boot blocks and never touches, and in the second half of it:
// zpool-create(8) zeroes the first 4 KiB of a device (zero_label in
// cmd/zpool/zpool_vdev.c) before there is a pool on it. What it says fits a sector, so
// that a power cut leaves it as it was or as it is to be.
type marker struct {
	Pool string `json:"pool"`
	// Size is what the pool is known to span. A file that is larger was grown
	// when a crash came, or is a disk that was grown.
	Size int64 `json:"size"`
	// Made: a pool was made in the file, so that not finding one is a fault.
	Made bool `json:"made"`
	// Assignment is the last in which the pool was imported, and Released tells that
	// it was exported for good in that: the registry knows it too, unless it was
	// lost and rebuilt.
	Assignment
	Released bool `json:"released,omitempty"`
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
		return nil, dot.Invalid("the pool's name has %d bytes: it is too long", len(m.Pool))
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
