// Package loop attaches files and block devices to loop devices through
// ioctls (loop(4)), without losetup(8).
package loop

import (
	"context"
	"errors"
	"os"
)

// ErrNotFound: no loop device has that backing file.
var ErrNotFound = errors.New("no loop device for this file")

// Options of Attach.
type Options struct {
	// DirectIO bypasses the page cache of the backing file where it can.
	DirectIO bool
	// ReadOnly attaches it read-only.
	ReadOnly bool
}

// Device is an attached loop device.
type Device struct {
	Number int    // N of /dev/loopN
	Path   string // /dev/loopN
}

// Attach attaches backing to a free loop device, or returns the one that it is
// attached to already (same device and inode), so that a retry never makes two.
func Attach(ctx context.Context, backing *os.File, opt Options) (Device, error) {
	return Device{}, errors.New("not implemented")
}

// Find is the loop device whose backing file is this one, by device and inode.
func Find(backing *os.File) (Device, error) { return Device{}, errors.New("not implemented") }

// Resize makes the device take its backing file's present size.
func (d Device) Resize() error { return errors.New("not implemented") }

// Detach frees the device. ErrBusy-like errors (EBUSY) while it is open.
func (d Device) Detach(ctx context.Context) error { return errors.New("not implemented") }
