package pool

import (
	"context"
	"errors"
	"fmt"
	"os"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/loop"
)

// Adopt checks a root in a pool that somebody else made and imported.
func Adopt(ctx context.Context, client *zfs.Client, root zfs.Dataset) (Opened, error) {
	values, err := client.Get(ctx, root, zfs.PropType)
	if errors.Is(err, zfs.ErrNotFound) || errors.Is(err, zfs.ErrNoSuchPool) {
		return Opened{}, dot.Precondition("%s does not exist: import the pool (zpool import %s), or make the dataset (zfs create %s)", root, root.Pool(), root)
	}
	if err != nil {
		return Opened{}, explain(err, "looking at %s", root)
	}
	if kind := values[zfs.PropType].Value; kind != string(zfs.KindFilesystem) {
		return Opened{}, dot.Precondition("%s is a %s: the root must be a filesystem", root, kind)
	}
	return Opened{Name: root.Pool(), Root: root}, nil
}

// Export exports the pool, notes in what it lies on that this assignment has released
// it, and detaches its loop device; CodeAborted, with who mounts it, while it is in
// use. Exporting an exported one is nil. A pool that a later assignment has had is left
// to that: ErrGivenAway.
func Export(ctx context.Context, cfg Config) error {
	_, imported, err := cfg.imported(ctx)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(cfg.path(), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening the pool file: %w", err)
	}
	defer file.Close()
	mark, ours, err := readMarker(file)
	if err == nil && ours {
		err = cfg.Assignment.vet(mark, true)
	}
	if err != nil {
		return err
	}
	device, err := loop.Find(file)
	attached := err == nil
	if err != nil && !errors.Is(err, loop.ErrNotFound) {
		return fmt.Errorf("finding the pool's loop device: %w", err)
	}
	if imported {
		if _, err := cfg.adopt(ctx, file); err != nil {
			return err
		}
		// zpool-export(8) would unmount what it can.
		if found := engine.PoolHolders(cfg.Name); len(found) > 0 {
			return dot.Errorf(dot.CodeAborted, "pool %s is in use: %s", cfg.Name, found[0])
		}
		if err := cfg.ZFS.Export(ctx, cfg.Name); err != nil {
			return explain(err, "exporting pool %s", cfg.Name)
		}
	}
	if err := cfg.markReleased(ctx, file); err != nil {
		return err
	}
	if !attached {
		return nil
	}
	cfg.Hook.Pass(ctx, BeforeDetach)
	if err := device.Detach(ctx); err != nil {
		return dot.Errorf(dot.CodeAborted, "detaching %s: %w", device.Path, err)
	}
	cfg.Hook.Pass(ctx, AfterDetach)
	klog.FromContext(ctx).Info("exported pool", "pool", cfg.Name.String(), "device", device.Path)
	return nil
}

func explain(err error, format string, args ...any) error {
	return engine.Explain(err, format, args...)
}
