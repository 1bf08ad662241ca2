package zfs

import (
	"context"
	"fmt"
	"strings"
)

// CreateFilesystem makes one filesystem, unmounted, with native and user
// properties. One process. ErrExists, ErrNotFound (parent), ErrNoSpace.
func (c *Client) CreateFilesystem(ctx context.Context, d Dataset, props Props) error {
	if err := check(props, d); err != nil {
		return err
	}
	args := append([]string{"create", "-u"}, props.args("-o")...)
	return c.mutateZFS(ctx, operation{BeforeCreate, AfterCreate}, append(args, d.String())...)
}

// Clone makes target from a snapshot. One process. zfs-clone(8) cannot be told
// not to mount, so canmount=noauto is set unless props names canmount.
func (c *Client) Clone(ctx context.Context, from Snapshot, target Dataset, props Props) error {
	if err := check(props, from, target); err != nil {
		return err
	}
	args := append([]string{"clone"}, props.args("-o")...)
	if _, given := props[PropCanmount]; !given {
		args = append(args, "-o", string(PropCanmount)+"=noauto")
	}
	return c.mutateZFS(ctx, operation{BeforeClone, AfterClone}, append(args, from.String(), target.String())...)
}

// Destroy destroys one filesystem that has no children, snapshots or clones.
// ErrHasChildren, ErrHasClones (with Dependents), ErrBusy, ErrNotFound. A
// mounted filesystem is ErrBusy only while something uses the mount: unmount
// first (zfs-destroy(8) unmounts what it can).
func (c *Client) Destroy(ctx context.Context, d Dataset) error {
	if err := check(nil, d); err != nil {
		return err
	}
	if _, nested := d.Parent(); !nested {
		return fmt.Errorf("destroy %s: %w: a pool's root is destroyed with the pool", d, ErrInvalidName)
	}
	return c.mutateZFS(ctx, operation{BeforeDestroy, AfterDestroy}, "destroy", d.String())
}

// DestroySnapshots destroys snapshots of one filesystem in one process, all or
// none. Those that are gone already are not an error as long as one is left;
// when all are gone: ErrNotFound. ErrHasClones, ErrBusy (also when held).
func (c *Client) DestroySnapshots(ctx context.Context, snaps ...Snapshot) error {
	if len(snaps) == 0 {
		return nil
	}
	names := make([]string, 0, len(snaps))
	for _, s := range snaps {
		if err := check(nil, s); err != nil {
			return err
		}
		if s.dataset != snaps[0].dataset {
			return fmt.Errorf("destroy snapshots of %s and %s: %w: one filesystem at a time", snaps[0].dataset, s.dataset, ErrInvalidName)
		}
		names = append(names, s.name)
	}
	list := snaps[0].dataset.path + "@" + strings.Join(names, ",")
	if len(list) > maxArg {
		return fmt.Errorf("destroy %d snapshots of %s: %w", len(snaps), snaps[0].dataset, ErrTooLarge)
	}
	return c.mutateZFS(ctx, operation{BeforeDestroySnaps, AfterDestroySnaps}, "destroy", list)
}

// maxArg is below Linux's limit on one argument (MAX_ARG_STRLEN, 128 KiB).
const maxArg = 120 << 10

// Rename renames a filesystem within its pool without remounting: it works
// while mounted when its mountpoint is legacy.
func (c *Client) Rename(ctx context.Context, from, to Dataset) error {
	if err := check(nil, from, to); err != nil {
		return err
	}
	return c.mutateZFS(ctx, operation{BeforeRename, AfterRename}, "rename", "-u", from.String(), to.String())
}

// Promote swaps a clone with its origin. ErrNotClone, ErrExists with the
// colliding snapshot names, ErrBusy.
func (c *Client) Promote(ctx context.Context, clone Dataset) error {
	if err := check(nil, clone); err != nil {
		return err
	}
	return c.mutateZFS(ctx, operation{BeforePromote, AfterPromote}, "promote", clone.String())
}

// SetProperties sets all of props on one target in one process.
func (c *Client) SetProperties(ctx context.Context, t Target, props Props) error {
	if err := check(props, t); err != nil {
		return err
	}
	if len(props) == 0 {
		return nil
	}
	args := []string{"set"}
	for _, name := range props.names() {
		args = append(args, string(name)+"="+props[name])
	}
	return c.mutateZFS(ctx, operation{BeforeSet, AfterSet}, append(args, t.String())...)
}

// InheritProperty removes a local value. Removing one that is not set is no error.
func (c *Client) InheritProperty(ctx context.Context, t Target, p Property) error {
	if err := check(nil, t); err != nil {
		return err
	}
	if err := p.Check(); err != nil {
		return err
	}
	return c.mutateZFS(ctx, operation{BeforeInherit, AfterInherit}, "inherit", string(p), t.String())
}

// Fence sets (true) or lifts (false) readonly on one dataset and whatever
// inherits it. It is all that the node service does with ZFS's commands.
type Fence func(ctx context.Context, d Dataset, on bool) error

// SetReadonly sets readonly locally. Its signature is Fence.
func (c *Client) SetReadonly(ctx context.Context, d Dataset, on bool) error {
	if err := check(nil, d); err != nil {
		return err
	}
	value := "readonly=off"
	if on {
		value = "readonly=on"
	}
	return c.mutateZFS(ctx, operation{BeforeFence, AfterFence}, "set", value, d.String())
}

// InheritReadonly makes d take readonly from its parent again.
func (c *Client) InheritReadonly(ctx context.Context, d Dataset) error {
	return c.InheritProperty(ctx, d, PropReadonly)
}

// check refuses zero values, which would change a command's meaning, and bad
// properties, before any process is started.
func check(props Props, targets ...Target) error {
	for _, t := range targets {
		if t == nil || t.IsZero() {
			return fmt.Errorf("empty %T: %w", t, ErrInvalidName)
		}
	}
	return props.Check()
}
