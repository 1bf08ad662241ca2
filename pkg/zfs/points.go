package zfs

import (
	"context"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
)

// operation is a pair of crash points around one mutating call.
type operation struct{ before, after crash.Point }

// The crash points of this package. "before" is passed when the arguments are
// checked and no process runs yet, "after" when the process has succeeded.
const (
	BeforeCreate          crash.Point = "zfs.create.before"
	AfterCreate           crash.Point = "zfs.create.after"
	BeforeClone           crash.Point = "zfs.clone.before"
	AfterClone            crash.Point = "zfs.clone.after"
	BeforeDestroy         crash.Point = "zfs.destroy.before"
	AfterDestroy          crash.Point = "zfs.destroy.after"
	BeforeDestroySnaps    crash.Point = "zfs.destroy-snapshots.before"
	AfterDestroySnaps     crash.Point = "zfs.destroy-snapshots.after"
	BeforeRename          crash.Point = "zfs.rename.before"
	AfterRename           crash.Point = "zfs.rename.after"
	BeforePromote         crash.Point = "zfs.promote.before"
	AfterPromote          crash.Point = "zfs.promote.after"
	BeforeSet             crash.Point = "zfs.set.before"
	AfterSet              crash.Point = "zfs.set.after"
	BeforeInherit         crash.Point = "zfs.inherit.before"
	AfterInherit          crash.Point = "zfs.inherit.after"
	BeforeSnapshot        crash.Point = "zfs.snapshot.before"
	AfterSnapshot         crash.Point = "zfs.snapshot.after"
	BeforeBookmark        crash.Point = "zfs.bookmark.before"
	AfterBookmark         crash.Point = "zfs.bookmark.after"
	BeforeDestroyBookmark crash.Point = "zfs.destroy-bookmark.before"
	AfterDestroyBookmark  crash.Point = "zfs.destroy-bookmark.after"
	BeforeHold            crash.Point = "zfs.hold.before"
	AfterHold             crash.Point = "zfs.hold.after"
	BeforeRelease         crash.Point = "zfs.release.before"
	AfterRelease          crash.Point = "zfs.release.after"
	BeforeReceive         crash.Point = "zfs.receive.before"
	AfterReceive          crash.Point = "zfs.receive.after"
	BeforeAbortReceive    crash.Point = "zfs.abort-receive.before"
	AfterAbortReceive     crash.Point = "zfs.abort-receive.after"
	BeforeFence           crash.Point = "zfs.fence.before"
	AfterFence            crash.Point = "zfs.fence.after"
	BeforeCreatePool      crash.Point = "zfs.create-pool.before"
	AfterCreatePool       crash.Point = "zfs.create-pool.after"
	BeforeImport          crash.Point = "zfs.import.before"
	AfterImport           crash.Point = "zfs.import.after"
	BeforeExport          crash.Point = "zfs.export.before"
	AfterExport           crash.Point = "zfs.export.after"
	BeforeDestroyPool     crash.Point = "zfs.destroy-pool.before"
	AfterDestroyPool      crash.Point = "zfs.destroy-pool.after"
	BeforeSetPool         crash.Point = "zfs.set-pool.before"
	AfterSetPool          crash.Point = "zfs.set-pool.after"
	BeforeExpandDevice    crash.Point = "zfs.expand-device.before"
	AfterExpandDevice     crash.Point = "zfs.expand-device.after"
)

// Points lists every crash point that a call of this package passes.
func Points() []crash.Point {
	return []crash.Point{
		BeforeCreate, AfterCreate, BeforeClone, AfterClone,
		BeforeDestroy, AfterDestroy, BeforeDestroySnaps, AfterDestroySnaps,
		BeforeRename, AfterRename,
		BeforePromote, AfterPromote, BeforeSet, AfterSet, BeforeInherit, AfterInherit,
		BeforeSnapshot, AfterSnapshot, BeforeBookmark, AfterBookmark,
		BeforeDestroyBookmark, AfterDestroyBookmark,
		BeforeHold, AfterHold, BeforeRelease, AfterRelease, BeforeReceive, AfterReceive,
		BeforeAbortReceive, AfterAbortReceive,
		BeforeFence, AfterFence, BeforeCreatePool, AfterCreatePool,
		BeforeImport, AfterImport, BeforeExport, AfterExport,
		BeforeDestroyPool, AfterDestroyPool, BeforeSetPool, AfterSetPool, BeforeExpandDevice, AfterExpandDevice,
	}
}

// mutate runs one mutating command, with the client that it is given, between its
// two crash points.
func (c *Client) mutate(ctx context.Context, op operation, run func(c *Client) error) error {
	changing := *c
	changing.changing = true
	c.cfg.Crash.Pass(ctx, op.before)
	if err := run(&changing); err != nil {
		return err
	}
	c.cfg.Crash.Pass(ctx, op.after)
	return nil
}

// mutateZFS is mutate for a zfs command whose output is of no interest.
func (c *Client) mutateZFS(ctx context.Context, op operation, args ...string) error {
	return c.mutate(ctx, op, func(c *Client) error {
		_, err := c.zfs(ctx, args...)
		return err
	})
}

// mutateZpool is mutate for a zpool command.
func (c *Client) mutateZpool(ctx context.Context, op operation, args ...string) error {
	return c.mutate(ctx, op, func(c *Client) error {
		_, err := c.zpool(ctx, args...)
		return err
	})
}
