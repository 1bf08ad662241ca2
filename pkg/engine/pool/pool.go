// Package pool makes, finds, imports, grows and exports the pool that a server
// keeps on a loop device over a file, and refuses what is not its own.
//
// Near its beginning the file has a marker of ours (marker.go), in a part of the
// first ZFS label that ZFS never reads or writes, so that a file that a crash left
// without a pool is told from one whose pool is damaged, and ours from everybody
// else's.
package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/loop"
)

// Config says which pool, where.
type Config struct {
	ZFS  *zfs.Client
	Name zfs.PoolName
	// Location is the directory of the pool file (<Location>/<Name>.pool).
	Location string
	// SizeBytes is the pool file's size; at least MinSize.
	SizeBytes int64
	// Sparse files take room only as they fill; a full file system under one
	// hangs every writer.
	Sparse bool
	Hook   crash.Hook
}

// MinSize is the smallest pool file.
const MinSize = 256 << 20

// Opened is an imported pool.
type Opened struct {
	Name   zfs.PoolName
	Root   zfs.Dataset
	Device string // /dev/loopN; "" for a root in a pool that is not ours
	// Imported: this call imported the pool. False when it was imported already
	// (the server was restarted, or tries once more) or made by this call, so that
	// it tells nothing of the fence: engine.FenceImport does.
	Imported, Created, Grown bool
	// Problem is a sentence for the admin about what did not keep the pool from
	// being used: it could not grow. "" otherwise.
	Problem string
}

// Ensure makes the pool imported, whatever it finds: nothing, a file that a
// crash left half-made, a pool that is not imported, or one that is. It refuses
// with CodePrecondition, and changes nothing, when the file, or a pool of that
// name, is not ours, or when SizeBytes is less than the file has.
func Ensure(ctx context.Context, cfg Config) (Opened, error) {
	if err := cfg.check(); err != nil {
		return Opened{}, err
	}
	imported, err := cfg.imported(ctx)
	if err != nil {
		return Opened{}, err
	}
	file, err := cfg.open(ctx, imported)
	if err != nil {
		return Opened{}, err
	}
	defer file.Close()
	mark, err := cfg.vet(file)
	if err != nil {
		return Opened{}, err
	}
	opened := Opened{Name: cfg.Name, Root: cfg.Name.Root()}
	var device loop.Device
	if imported {
		device, err = cfg.adopt(ctx, file)
	} else {
		device, err = cfg.bring(ctx, file, mark, &opened)
	}
	if err != nil {
		return Opened{}, err
	}
	opened.Device = device.Path
	if err := cfg.settle(ctx, file, mark, device, &opened); err != nil {
		return Opened{}, err
	}
	klog.FromContext(ctx).Info("pool is imported", "pool", cfg.Name.String(), "device", device.Path,
		"imported", opened.Imported, "created", opened.Created, "grown", opened.Grown)
	return opened, nil
}

func (c Config) check() error {
	switch {
	case c.Name.IsZero():
		return dot.Invalid("the pool has no name")
	case !filepath.IsAbs(c.Location):
		return dot.Invalid("pool location %q is not an absolute path", c.Location)
	case c.SizeBytes < MinSize:
		return dot.Invalid("a pool of %d bytes is too small: give it at least %d", c.SizeBytes, MinSize)
	}
	return nil
}

func (c Config) path() string { return filepath.Join(c.Location, c.Name.String()+".pool") }

func (c Config) imported(ctx context.Context) (bool, error) {
	pools, err := c.ZFS.Pools(ctx)
	if err != nil {
		return false, explain(err, "listing the imported pools")
	}
	return slices.ContainsFunc(pools, func(p zfs.Pool) bool { return p.Name == c.Name.String() }), nil
}

// open opens the pool file, or makes it where no pool of that name is in the way.
func (c Config) open(ctx context.Context, imported bool) (*os.File, error) {
	file, err := os.OpenFile(c.path(), os.O_RDWR, 0)
	switch {
	case err == nil:
		return file, nil
	case !errors.Is(err, os.ErrNotExist):
		return nil, dot.Errorf(dot.CodePrecondition, "opening the pool file: %w", err)
	case imported:
		return nil, c.notOurs()
	}
	return c.allocate(ctx)
}

func (c Config) notOurs() error {
	return dot.Precondition("a pool called %s is imported, and it does not lie in %s: choose another --pool-name, or use that pool with --root", c.Name, c.path())
}

// vet refuses a file that is not ours, and to shrink it.
func (c Config) vet(file *os.File) (marker, error) {
	info, err := file.Stat()
	if err != nil {
		return marker{}, fmt.Errorf("looking at the pool file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return marker{}, dot.Precondition("%s is not a file: nothing was changed; move it away, or choose another --pool-name", c.path())
	}
	mark, ok, err := readMarker(file)
	switch {
	case err != nil:
		return marker{}, err
	case !ok:
		return marker{}, dot.Precondition("%s holds something that dotmesh did not put there: nothing was changed; move it away, or choose another --pool-name or --pool-location", c.path())
	case mark.Pool != c.Name.String():
		return marker{}, dot.Precondition("%s was made for pool %s, not %s: nothing was changed; rename it back", c.path(), mark.Pool, c.Name)
	case info.Size() > c.SizeBytes:
		return marker{}, dot.Precondition("the pool file %s has %d bytes and cannot shrink to %d: set --pool-size to at least what it has", c.path(), info.Size(), c.SizeBytes)
	}
	return mark, nil
}

// adopt finds the device of a pool that is imported already.
func (c Config) adopt(ctx context.Context, file *os.File) (loop.Device, error) {
	device, err := loop.Find(file)
	if errors.Is(err, loop.ErrNotFound) {
		return loop.Device{}, c.notOurs()
	}
	if err != nil {
		return loop.Device{}, fmt.Errorf("finding the pool's loop device: %w", err)
	}
	status, err := c.ZFS.Status(ctx, c.Name)
	if err != nil {
		return loop.Device{}, explain(err, "looking at pool %s", c.Name)
	}
	if !slices.ContainsFunc(status.Devices, func(d zfs.Device) bool { return filepath.Base(d.Path) == filepath.Base(device.Path) }) {
		return loop.Device{}, c.notOurs()
	}
	return device, nil
}

// bring attaches the file and imports its pool, or makes it where a marker says
// that there is none yet. What it attached it detaches when it fails.
func (c Config) bring(ctx context.Context, file *os.File, mark marker, opened *Opened) (loop.Device, error) {
	_, err := loop.Find(file)
	attached := errors.Is(err, loop.ErrNotFound)
	device, err := loop.Attach(ctx, file)
	if err != nil {
		return loop.Device{}, dot.Errorf(dot.CodeInternal, "attaching %s to a loop device: %w", c.path(), err)
	}
	c.Hook.Pass(ctx, AfterAttach)
	if err := c.importOrCreate(ctx, device, mark, opened); err != nil {
		if attached {
			err = errors.Join(err, device.Detach(context.WithoutCancel(ctx)))
		}
		return loop.Device{}, err
	}
	return device, nil
}

func (c Config) importOrCreate(ctx context.Context, device loop.Device, mark marker, opened *Opened) error {
	there, err := c.ZFS.ListImportable(ctx, device.Path)
	if err != nil {
		return explain(err, "looking for a pool in %s", c.path())
	}
	switch {
	case len(there) == 0 && mark.Made:
		return dot.Precondition("%s should hold pool %s and ZFS finds none in it: nothing was changed; look at it with zdb -l %s", c.path(), c.Name, c.path())
	case len(there) == 0:
		err := c.ZFS.CreatePool(ctx, zfs.PoolSpec{Name: c.Name, Devices: []string{device.Path}})
		opened.Created = err == nil
		return explain(err, "making pool %s", c.Name)
	case len(there) > 1 || there[0].Name != c.Name.String():
		return dot.Precondition("%s holds pool %s, not %s: nothing was changed; rename it back (zpool import -N -d %s %s %s; zpool export %s), or move the file away",
			c.path(), there[0].Name, c.Name, c.path(), there[0].Name, c.Name, c.Name)
	case there[0].Foreign:
		return c.foreign()
	}
	err = c.ZFS.Import(ctx, zfs.ImportSpec{Devices: []string{device.Path}, GUID: there[0].GUID})
	if errors.Is(err, zfs.ErrPoolForeign) {
		return c.foreign()
	}
	opened.Imported = err == nil
	return explain(err, "importing pool %s", c.Name)
}

func (c Config) foreign() error {
	return dot.Precondition("pool %s in %s was last used by another machine, or by this one with another hostid, and was not exported there: nothing was changed; make sure that no other machine has this file, then import it once with: losetup --show -f %s; zpool import -f -N -o cachefile=none -d <the loop device that losetup tells> %s", c.Name, c.path(), c.path(), c.Name)
}

// settle grows the file and the pool where they are smaller than asked for, and
// then writes into the marker what is true now. A pool that cannot grow is used
// as it is.
func (c Config) settle(ctx context.Context, file *os.File, mark marker, device loop.Device, opened *Opened) error {
	after := mark
	after.Made = true
	size, err := c.grow(ctx, file, mark, device)
	if err != nil {
		opened.Problem = err.Error()
		klog.FromContext(ctx).Error(err, "pool cannot grow", "pool", c.Name.String())
	} else {
		opened.Grown = mark.Made && size > mark.Size
		after.Size = size
	}
	if after == mark {
		return nil
	}
	c.Hook.Pass(ctx, BeforeMark)
	if err := after.write(file); err != nil {
		return err
	}
	c.Hook.Pass(ctx, AfterMark)
	return nil
}

// grow gives the size that the pool spans now.
func (c Config) grow(ctx context.Context, file *os.File, mark marker, device loop.Device) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, fmt.Errorf("looking at the pool file: %w", err)
	}
	if info.Size() < c.SizeBytes {
		c.Hook.Pass(ctx, BeforeExtend)
		if err := c.extend(file, info.Size()); err != nil {
			return 0, err
		}
		c.Hook.Pass(ctx, AfterExtend)
	}
	if mark.Size >= c.SizeBytes {
		return mark.Size, nil
	}
	if err := device.Resize(); err != nil {
		return 0, fmt.Errorf("growing %s: %w", device.Path, err)
	}
	if err := c.ZFS.ExpandDevice(ctx, c.Name, device.Path); err != nil {
		return 0, explain(err, "growing pool %s", c.Name)
	}
	return c.SizeBytes, nil
}
