//go:build zfs

package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/loop"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/zfstest"
)

// onDevice is a configuration of a pool on a disk that moves; the disk, its pool and
// loop device go with the test.
func onDevice(t *testing.T, hook crash.Hook) Config {
	t.Helper()
	_, disk := zfstest.Loop(t, MinSize)
	cfg := Config{
		ZFS: zfstest.Client(t, zfs.Config{Crash: hook}), Name: zfstest.Name(t), Device: disk.Path,
		Multihost: true, Assignment: Assignment{aClaim(t, "1"), 1}, Hook: hook,
	}
	t.Cleanup(func() {
		if device, err := findLoop(cfg); err == nil {
			if err := device.Detach(context.Background()); err != nil {
				t.Errorf("the loop device is left behind: %v", err)
			}
		}
	})
	zfstest.CleanUp(t, cfg.Name)
	return cfg
}

// refusedAs fails unless the pool is refused for a reason.
func refusedAs(t *testing.T, cfg Config, want error) error {
	t.Helper()
	if _, err := Ensure(t.Context(), cfg); !errors.Is(err, want) || dot.CodeOf(err) != dot.CodePrecondition {
		return fmt.Errorf("not refused because %w: %w", want, err)
	}
	return nil
}

// ends are both ends of a disk, where everything lies that tells what it is.
func ends(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	both := make([]byte, 2*end)
	_, err1 := f.ReadAt(both[:end], 0)
	_, err2 := f.ReadAt(both[end:], MinSize-end)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return string(both)
}

func TestLifeOfAPoolOnADevice(t *testing.T) {
	cfg := onDevice(t, nil)
	made := ensure(t, cfg)
	if !made.Created || made.Device == cfg.Device {
		t.Errorf("made: got %+v", made)
	}
	pool, err := cfg.ZFS.Pool(t.Context(), cfg.Name)
	if err != nil || !pool.Multihost {
		t.Errorf("got %+v, %v, want multihost", pool, err)
	}

	// Another container has a node of its own for the disk.
	elsewhere := cfg
	elsewhere.Device = t.TempDir() + "/dotmesh-pool"
	var disk unix.Stat_t
	if err := unix.Stat(cfg.Device, &disk); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(elsewhere.Device, unix.S_IFBLK|0o600, int(disk.Rdev)); err != nil {
		t.Fatal(err)
	}
	if again := ensure(t, elsewhere); again.Created || again.Imported || again.Device != made.Device {
		t.Errorf("adopted: got %+v, want device %s", again, made.Device)
	}

	for range 2 {
		if err := Export(t.Context(), elsewhere); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := findLoop(cfg); !errors.Is(err, loop.ErrNotFound) {
		t.Errorf("the loop device is left: %v", err)
	}
	before := ends(t, cfg.Device)
	if err := refusedAs(t, cfg, ErrReleased); err != nil {
		t.Error(err)
	}
	if _, err := findLoop(cfg); !errors.Is(err, loop.ErrNotFound) || ends(t, cfg.Device) != before {
		t.Errorf("the refusal has changed something: %v", err)
	}

	next := cfg
	next.Assignment.Generation++
	if back := ensure(t, next); !back.Imported || back.Created {
		t.Errorf("given to the next node: got %+v", back)
	}
	if err := refusedAs(t, cfg, ErrGivenAway); err != nil {
		t.Error(err)
	}
	if err := Export(t.Context(), cfg); !errors.Is(err, ErrGivenAway) {
		t.Errorf("an earlier generation exports: got %v", err)
	}
	if again := ensure(t, next); again.Imported {
		t.Error("a server of an earlier generation has exported the pool")
	}
}

func TestPoolGrowsWithItsDevice(t *testing.T) {
	path, disk := zfstest.Loop(t, MinSize)
	cfg := onDevice(t, nil)
	cfg.Device = disk.Path
	ensure(t, cfg)
	before, err := cfg.ZFS.Pool(t.Context(), cfg.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Truncate(path, 2*MinSize), disk.Resize()); err != nil {
		t.Fatal(err)
	}
	if grown := ensure(t, cfg); !grown.Grown {
		t.Errorf("got %+v", grown)
	}
	after, err := cfg.ZFS.Pool(t.Context(), cfg.Name)
	if err != nil || after.Size < before.Size*3/2 {
		t.Errorf("the pool has %d bytes and had %d, %v", after.Size, before.Size, err)
	}
	if same := ensure(t, cfg); same.Grown {
		t.Errorf("grown again: %+v", same)
	}
	for want, size := range []int64{2 * MinSize, 3 * MinSize} { // without opening it anew
		if err := errors.Join(os.Truncate(path, size), disk.Resize()); err != nil {
			t.Fatal(err)
		}
		if grown, err := Grow(t.Context(), cfg); err != nil || grown != (want == 1) {
			t.Errorf("to %d: got %t, %v", size, grown, err)
		}
	}
	online, err := cfg.ZFS.Pool(t.Context(), cfg.Name)
	if err != nil || online.Size < before.Size*5/2 {
		t.Errorf("the pool has %d bytes and had %d, %v", online.Size, before.Size, err)
	}
	cfg.Assignment = Assignment{} // or it would be refused as released
	if err := errors.Join(Export(t.Context(), cfg), os.Truncate(path, MinSize), disk.Resize()); err != nil {
		t.Fatal(err)
	}
	refused(t, "a disk that was cut short", cfg, dot.CodePrecondition)
}

func TestWhatLiesOnADeviceIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		at   int64
		text string
	}{
		"a partition table":      {510, "\x55\xaa"},
		"the end of a ZFS label": {MinSize - 128<<10, "\x0c\xb1\xba"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := onDevice(t, nil)
			f, err := os.OpenFile(cfg.Device, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt([]byte(c.text), c.at)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			before := ends(t, cfg.Device)
			refused(t, name, cfg, dot.CodePrecondition)
			if ends(t, cfg.Device) != before {
				t.Error("the refusal has changed the disk")
			}
			if _, err := findLoop(cfg); !errors.Is(err, loop.ErrNotFound) {
				t.Errorf("the refusal left a loop device: %v", err)
			}
		})
	}
}

// A file system of its own is filled by the pool file, and grows with it.
func TestPoolFillsItsFileSystem(t *testing.T) {
	cfg := onDisk(t, nil)
	cfg.SizeBytes, cfg.Sparse, cfg.Location = 0, false, t.TempDir()
	const size = 512 << 20
	if err := unix.Mount("tmpfs", cfg.Location, "tmpfs", 0, fmt.Sprint("size=", size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(cfg.Location, unix.MNT_DETACH) })
	ensure(t, cfg)
	first, err := os.Stat(cfg.path())
	if err != nil || first.Size() < size-leftFree-growStep || first.Size() > size-leftFree {
		t.Fatalf("got %v, %v", first, err)
	}
	if again := ensure(t, cfg); again.Grown {
		t.Errorf("grown without need: %+v", again)
	}
	if err := unix.Mount("tmpfs", cfg.Location, "tmpfs", unix.MS_REMOUNT, fmt.Sprint("size=", size+128<<20)); err != nil {
		t.Fatal(err)
	}
	if grown := ensure(t, cfg); !grown.Grown {
		t.Errorf("got %+v", grown)
	}
	second, err := os.Stat(cfg.path())
	if err != nil || second.Size() != first.Size()+128<<20 {
		t.Errorf("got %v, %v, want 128 MiB more than %d", second, err, first.Size())
	}
	if err := Export(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}
