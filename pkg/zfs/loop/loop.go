// Package loop attaches files and block devices to loop devices through
// ioctls (loop(4)), without losetup(8).
package loop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var (
	// ErrNotFound: no loop device has that backing file.
	ErrNotFound = errors.New("no loop device for this file")
	// ErrBusy: something still has the loop device open. The kernel frees it by
	// itself when the last user closes it.
	ErrBusy = errors.New("loop device is still in use")
)

const (
	control = "/dev/loop-control"
	poll    = 50 * time.Millisecond

	// ours is the name (lo_file_name) of our loop devices over block devices: others
	// attach some over the same ones, as kubelet does to hold a pod's volume.
	ours = "dotmesh.csi"
)

// Device is an attached loop device.
type Device struct {
	Path string // /dev/loopN
}

func device(n int) Device { return Device{"/dev/loop" + strconv.Itoa(n)} }

// Attach attaches backing to a free loop device, or returns the one that it is
// attached to already (same device and inode), so that a retry never makes two.
// The loop device keeps the file open by itself. Concurrent callers, in this
// process or another, take turns by a flock(2) on backing.
func Attach(ctx context.Context, backing *os.File) (Device, error) {
	unlock, err := lock(ctx, backing)
	if err != nil {
		return Device{}, err
	}
	defer unlock()
	if d, err := Find(backing); !errors.Is(err, ErrNotFound) {
		return d, err
	}
	ctl, err := os.OpenFile(control, os.O_RDWR, 0)
	if err != nil {
		return Device{}, fmt.Errorf("loop devices are not available (is the module loop loaded?): %w", err)
	}
	defer ctl.Close()
	for {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return Device{}, fmt.Errorf("no free loop device: %w", err)
		}
		d := device(n)
		err = d.configure(backing)
		if err == nil {
			return d, nil
		}
		// EBUSY: another process took this one since it was free.
		if !errors.Is(err, unix.EBUSY) {
			return Device{}, fmt.Errorf("attaching %s to %s: %w", backing.Name(), d.Path, err)
		}
		if err := pause(ctx); err != nil {
			return Device{}, fmt.Errorf("attaching %s: %w", backing.Name(), err)
		}
	}
}

func (d Device) configure(backing *os.File) error {
	f, err := d.open()
	if err != nil {
		return err
	}
	defer f.Close()
	config := unix.LoopConfig{Fd: uint32(backing.Fd())}
	name := backing.Name()
	if block, err := isBlock(backing); err != nil {
		return err
	} else if block {
		name = ours
	}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], name)
	err = unix.IoctlLoopConfigure(int(f.Fd()), &config)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTTY) {
		return err
	}
	return setFD(int(f.Fd()), int(backing.Fd()), config.Info)
}

// setFD is for kernels before 5.8, which have no LOOP_CONFIGURE.
func setFD(fd, backing int, info unix.LoopInfo64) error {
	if err := unix.IoctlSetInt(fd, unix.LOOP_SET_FD, backing); err != nil {
		return err
	}
	if err := unix.IoctlLoopSetStatus64(fd, &info); err != nil {
		_ = unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0)
		return err
	}
	return nil
}

func isBlock(file *os.File) (bool, error) {
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	return info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0, nil
}

// Find is the loop device whose backing file is this one. Files are compared by
// device and inode, device nodes by the device that they stand for: paths prove
// nothing, and differ between mount namespaces. Over a block device only one that
// Attach made counts.
func Find(backing *os.File) (Device, error) {
	var want unix.Stat_t
	if err := unix.Fstat(int(backing.Fd()), &want); err != nil {
		return Device{}, fmt.Errorf("stat of %s: %w", backing.Name(), err)
	}
	attached, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return Device{}, err
	}
	for _, path := range attached {
		name := filepath.Base(filepath.Dir(filepath.Dir(path)))
		n, err := strconv.Atoi(strings.TrimPrefix(name, "loop"))
		if err != nil {
			continue
		}
		info, err := device(n).status()
		if err != nil {
			continue // detached meanwhile
		}
		if same(info, want) {
			return device(n), nil
		}
	}
	return Device{}, fmt.Errorf("%s: %w", backing.Name(), ErrNotFound)
}

func same(info unix.LoopInfo64, want unix.Stat_t) bool {
	if want.Mode&unix.S_IFMT == unix.S_IFBLK {
		return info.Rdevice == want.Rdev && want.Rdev != 0 && unix.ByteSliceToString(info.File_name[:]) == ours
	}
	return info.Device == want.Dev && info.Inode == want.Ino
}

// Resize makes the device take its backing file's present size.
func (d Device) Resize() error {
	f, err := d.open()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("resizing %s: %w", d.Path, err)
	}
	return nil
}

// Detach frees the device and waits, within ctx, until it is free; ErrBusy when
// something keeps it open that long. One that is free already is no error.
func (d Device) Detach(ctx context.Context) error {
	if err := d.clear(); err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("detaching %s: %w", d.Path, err)
	}
	for {
		// With other users the kernel only marks the device to go with the last.
		if _, err := d.status(); errors.Is(err, unix.ENXIO) || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("detaching %s: %w: %w", d.Path, ErrBusy, err)
		}
	}
}

func (d Device) clear() error {
	f, err := d.open()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0)
}

func (d Device) status() (unix.LoopInfo64, error) {
	f, err := os.Open(d.Path)
	if err != nil {
		return unix.LoopInfo64{}, err
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return unix.LoopInfo64{}, err
	}
	return *info, nil
}

// open makes the device node where it is missing: a container's /dev has only
// the nodes that were there when it started.
func (d Device) open() (*os.File, error) {
	f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	numbers, err := os.ReadFile("/sys/block/" + filepath.Base(d.Path) + "/dev")
	if err != nil {
		return nil, err
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(string(numbers), "%d:%d", &major, &minor); err != nil {
		return nil, fmt.Errorf("device number %q of %s: %w", numbers, d.Path, err)
	}
	err = unix.Mknod(d.Path, unix.S_IFBLK|0o600, int(unix.Mkdev(major, minor)))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("making %s: %w", d.Path, err)
	}
	return os.OpenFile(d.Path, os.O_RDWR, 0)
}

func lock(ctx context.Context, f *os.File) (unlock func(), err error) {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
		}
		if err := pause(ctx); err != nil {
			return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
		}
	}
}

func pause(ctx context.Context) error {
	timer := time.NewTimer(poll)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
