package clouddisk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Attach puts a disk on a node; it stays there through power cuts until Detach.
// A disk that is on another node is refused with ErrAttached.
func (d *Disks) Attach(ctx context.Context, id, node string) error {
	unlock, err := d.lock(ctx, id, node)
	if err != nil {
		return err
	}
	defer unlock()
	m, err := d.Machine(node)
	if err != nil {
		return err
	}
	disk, err := d.Get(id)
	if err != nil {
		return err
	}
	switch disk.Node {
	case node:
	case "":
		disk.Node = node
		if err := d.save(disk); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w to %s: detach it there first", ErrAttached, disk.Node)
	}
	return whileRunning(m, func() error { return plug(ctx, m, d.device(disk)) })
}

// Detach takes a disk from a node, also from one that has no power or still uses
// it (see Misuse). A disk that is not there, or a node that is gone, is no error.
func (d *Disks) Detach(ctx context.Context, id, node string) error {
	unlock, err := d.lock(ctx, id, node)
	if err != nil {
		return err
	}
	defer unlock()
	disk, err := d.Get(id)
	if errors.Is(err, ErrNoDisk) || err == nil && disk.Node != node {
		return nil
	} else if err != nil {
		return err
	}
	m, err := d.Machine(node)
	if errors.Is(err, ErrNoNode) {
		m = nil
	} else if err != nil {
		return err
	}
	if m != nil {
		if err := whileRunning(m, func() error { return d.unplug(ctx, m, disk) }); err != nil {
			return err
		}
	}
	disk.Node = ""
	return d.save(disk)
}

// unplug takes the disk out of a running machine.
func (d *Disks) unplug(ctx context.Context, m Machine, disk Disk) error {
	users, err := m.Users(ctx, disk.ID)
	if err != nil {
		return fmt.Errorf("ask %s what uses %s: %w", disk.Node, disk.ID, err)
	}
	if len(users) > 0 {
		if err := d.addMisuse(Misuse{Time: time.Now(), Disk: disk.ID, Node: disk.Node, Users: users}); err != nil {
			return err
		}
	}
	return unplug(ctx, m, d.device(disk))
}

// Resize makes a disk larger, also while it is used; a smaller size does nothing.
// It answers with the size that the disk has then.
func (d *Disks) Resize(ctx context.Context, id string, size int64) (int64, error) {
	disk, unlock, err := d.lockWithNode(ctx, id)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if size > disk.Bytes {
		disk.Bytes = size
		if err := d.save(disk); err != nil {
			return 0, err
		}
	}
	// Again for a size that it has, in case that an earlier call ended here.
	if err := extend(d.File(id), disk.Bytes); err != nil {
		return 0, err
	}
	if disk.Node == "" {
		return disk.Bytes, nil
	}
	m, err := d.Machine(disk.Node)
	if err != nil {
		return 0, err
	}
	return disk.Bytes, whileRunning(m, func() error { return resize(ctx, m, d.device(disk), disk.Bytes) })
}

// lockWithNode locks a disk and the node that it is on.
func (d *Disks) lockWithNode(ctx context.Context, id string) (disk Disk, unlock func(), err error) {
	for {
		before, err := d.Get(id)
		if err != nil {
			return before, nil, err
		}
		unlock, err := d.lock(ctx, id, before.Node)
		if err != nil {
			return before, nil, err
		}
		now, err := d.Get(id)
		if err == nil && now.Node == before.Node {
			return now, unlock, nil
		}
		unlock()
		if err != nil {
			return now, nil, err
		}
	}
}

// Boot calls start with QEMU's arguments for the disks on a node, which neither
// come nor go until start returns: by then the machine has to answer, or be gone.
func (d *Disks) Boot(ctx context.Context, node string, start func(arguments []string) error) error {
	unlock, err := d.lock(ctx, "", node)
	if err != nil {
		return err
	}
	defer unlock()
	all, err := d.List()
	if err != nil {
		return err
	}
	var arguments []string
	for _, disk := range all {
		if disk.Node == node {
			arguments = append(arguments, d.device(disk).arguments()...)
		}
	}
	return start(arguments)
}

// Forget frees the disks of a node whose machine is gone for good.
func (d *Disks) Forget(ctx context.Context, node string) error {
	unlock, err := d.lock(ctx, "", node)
	if err != nil {
		return err
	}
	defer unlock()
	all, err := d.List()
	for _, disk := range all {
		if disk.Node == node {
			disk.Node = ""
			err = errors.Join(err, d.save(disk))
		}
	}
	return err
}

// whileRunning does nothing to a machine without power, and forgives what fails
// because the power goes meanwhile: the record says enough.
func whileRunning(m Machine, do func() error) error {
	if !m.Running() {
		return nil
	}
	err := do()
	if err != nil && !m.Running() {
		return nil
	}
	return err
}

// lock keeps all other processes, and callers in this one, from a disk and from
// what is plugged into a node; either may be "".
func (d *Disks) lock(ctx context.Context, id, node string) (unlock func(), err error) {
	var held []*os.File
	unlock = func() {
		for _, f := range held {
			f.Close()
		}
	}
	for _, name := range []string{id, node} {
		if name == "" {
			continue
		}
		f, err := lockFile(ctx, filepath.Join(d.Dir, name+".lock"))
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, f)
	}
	return unlock, nil
}

func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
}
