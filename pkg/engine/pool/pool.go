// Package pool makes, finds, imports, grows and exports the pool that a server
// keeps on a loop device over a file or a disk, and refuses what is not its own. The
// loop device stands between ZFS and a disk that can be taken away: it is ours to let
// go of, and has the same name whichever way the disk came.
//
// Near its beginning the file or disk has a marker of ours (marker.go), in a part of the
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
	// Location is the directory of the pool file (<Location>/<Name>.pool). Device is a
	// block device, taken whole in place of a file. One of the two is set.
	Location string
	Device   string
	// SizeBytes is the pool file's size; at least MinSize. One that is larger stays as
	// it is. 0: as much as its file system has, but what that may need itself.
	SizeBytes int64
	// Sparse files take room only as they fill; a full file system under one
	// hangs every writer.
	Sparse bool
	// Multihost has ZFS keep two machines from importing the pool at once. It costs a
	// write every second, and a pool that cannot be written for ten is suspended.
	Multihost bool
	// Assignment is the one that the pool is imported in; the zero value where it
	// stays with its machine.
	Assignment Assignment
	// TakeOver allows to import a pool that another machine has not exported, if this
	// assignment has not had it yet.
	TakeOver bool
	// Expected: there was a pool, so that not finding one is a fault, also where the
	// marker is gone too.
	Expected bool
	Hook     crash.Hook
}

// MinSize is the smallest pool file or disk.
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
	// SizeBytes is what the file or device has.
	SizeBytes int64
	// Problem is a sentence for the admin about what did not keep the pool from
	// being used: it could not grow. "" otherwise.
	Problem string
}

// Ensure makes the pool imported, whatever it finds: nothing, a file that a
// crash left half-made, a pool that is not imported, or one that is. It refuses
// with CodePrecondition, and changes nothing, when the file, or a pool of that
// name, is not ours; with ErrGivenAway or ErrReleased when the pool is no longer this
// assignment's.
func Ensure(ctx context.Context, cfg Config) (Opened, error) {
	if err := cfg.check(); err != nil {
		return Opened{}, err
	}
	known, imported, err := cfg.imported(ctx)
	if err != nil {
		return Opened{}, err
	}
	file, err := cfg.open(ctx, imported)
	if err != nil {
		return Opened{}, err
	}
	defer file.Close()
	if cfg.SizeBytes, err = cfg.wanted(file); err != nil {
		return Opened{}, err
	}
	mark, err := cfg.vet(file)
	if err != nil {
		return Opened{}, err
	}
	if err := cfg.Assignment.vet(mark, imported); err != nil {
		return Opened{}, err
	}
	opened := Opened{Name: cfg.Name, Root: cfg.Name.Root()}
	var device loop.Device
	if imported {
		device, err = cfg.adopt(ctx, file)
		if err == nil && cfg.Multihost && !known.Multihost {
			err = explain(cfg.ZFS.SetMultihost(ctx, cfg.Name), "setting multihost of pool %s", cfg.Name)
		}
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
	if opened.SizeBytes, err = cfg.size(file); err != nil {
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
	case c.Device == "" && !filepath.IsAbs(c.Location):
		return dot.Invalid("pool location %q is not an absolute path", c.Location)
	case c.Device != "" && !filepath.IsAbs(c.Device):
		return dot.Invalid("pool device %q is not an absolute path", c.Device)
	case c.Device != "" && c.SizeBytes != 0:
		return dot.Invalid("a pool on a device has the device's size, not one of %d bytes", c.SizeBytes)
	case c.SizeBytes != 0 && c.SizeBytes < MinSize:
		return dot.Invalid("a pool of %d bytes is too small: give it at least %d", c.SizeBytes, MinSize)
	}
	return nil
}

// path is what the pool lies on: the file, or the device.
func (c Config) path() string {
	if c.Device != "" {
		return c.Device
	}
	return filepath.Join(c.Location, c.Name.String()+".pool")
}

// imported finds the pool of that name, ours or not, if there is one.
func (c Config) imported(ctx context.Context) (zfs.Pool, bool, error) {
	pools, err := c.ZFS.Pools(ctx)
	if err != nil {
		return zfs.Pool{}, false, explain(err, "listing the imported pools")
	}
	i := slices.IndexFunc(pools, func(p zfs.Pool) bool { return p.Name == c.Name.String() })
	if i < 0 {
		return zfs.Pool{}, false, nil
	}
	return pools[i], true, nil
}

// open opens the pool file, or the device, and makes or marks it where nothing is
// there yet and no pool of that name is in the way.
func (c Config) open(ctx context.Context, imported bool) (*os.File, error) {
	if c.Device != "" {
		return c.openDevice(ctx, imported)
	}
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

// vet refuses a file that is not ours, or not whole.
func (c Config) vet(file *os.File) (marker, error) {
	size, err := c.size(file)
	if err != nil {
		return marker{}, err
	}
	mark, ok, err := readMarker(file)
	switch {
	case err != nil:
		return marker{}, err
	case !ok && c.Device != "":
		return marker{}, dot.Precondition("%s holds something that dotmesh did not put there: nothing was changed; give another --pool-device, or, if nothing on it is needed, empty it: wipefs -a and zeros in its first and last MiB", c.path())
	case !ok:
		return marker{}, dot.Precondition("%s holds something that dotmesh did not put there: nothing was changed; move it away, or choose another --pool-name or --pool-location", c.path())
	case mark.Pool != c.Name.String():
		return marker{}, dot.Precondition("%s was made for pool %s, not %s: nothing was changed; rename it back", c.path(), mark.Pool, c.Name)
	case mark.Made && size < mark.Size:
		return marker{}, dot.Precondition("%s has %d bytes and the pool on it has %d: it was cut short; nothing was changed; give it its size back", c.path(), size, mark.Size)
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
	case len(there) == 0 && (mark.Made || c.Expected):
		return dot.Precondition("%s should hold pool %s and ZFS finds none in it: nothing was changed; look at it with zdb -l %s", c.path(), c.Name, c.path())
	case len(there) == 0:
		err := c.ZFS.CreatePool(ctx, zfs.PoolSpec{Name: c.Name, Devices: []string{device.Path}, Props: c.props()})
		opened.Created = err == nil
		return explain(err, "making pool %s", c.Name)
	case len(there) > 1 || there[0].Name != c.Name.String():
		return dot.Precondition("%s holds pool %s, not %s: nothing was changed; rename it back (zpool import -N -d %s %s %s; zpool export %s), or move the file away",
			c.path(), there[0].Name, c.Name, c.path(), there[0].Name, c.Name, c.Name)
	case there[0].Foreign && !c.mayTakeOver(mark):
		return c.foreign()
	case there[0].Foreign:
		klog.FromContext(ctx).Info("taking over a pool that another machine has not exported", "pool", c.Name.String(), "device", c.path())
	}
	err = c.ZFS.Import(ctx, zfs.ImportSpec{Devices: []string{device.Path}, GUID: there[0].GUID, Props: c.props(), Force: there[0].Foreign})
	if errors.Is(err, zfs.ErrPoolForeign) {
		return c.foreign()
	}
	opened.Imported = err == nil
	return explain(err, "importing pool %s", c.Name)
}

// props are of the pool, set when it is made and with each import.
func (c Config) props() zfs.Props {
	if !c.Multihost {
		return nil
	}
	return zfs.Props{zfs.PropMultihost: "on"}
}

func (c Config) foreign() error {
	if !c.Assignment.Claim.IsZero() {
		return dot.Precondition("pool %s on %s is in use by another machine, or was when that ended: nothing was changed; it can be imported here once that machine has released it, or, with --pool-take-over, when it cannot have the disk any more", c.Name, c.path())
	}
	return dot.Precondition("pool %s in %s was last used by another machine, or by this one with another hostid, and was not exported there: nothing was changed; make sure that no other machine has this file, then import it once with: losetup --show -f %s; zpool import -f -N -o cachefile=none -d <the loop device that losetup tells> %s", c.Name, c.path(), c.path(), c.Name)
}

// settle grows the file and the pool where they are smaller than asked for, and
// then writes into the marker what is true now. A pool that cannot grow is used
// as it is.
func (c Config) settle(ctx context.Context, file *os.File, mark marker, device loop.Device, opened *Opened) error {
	after := mark
	after.Made = true
	if !c.Assignment.Claim.IsZero() {
		after.Assignment, after.Released = c.Assignment, false
	}
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
	size, err := c.size(file)
	if err != nil {
		return 0, err
	}
	if size < c.SizeBytes {
		c.Hook.Pass(ctx, BeforeExtend)
		if err := c.extend(file, size); err != nil {
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
