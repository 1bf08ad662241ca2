//go:build zfs

package pool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/loop"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/zfstest"
)

// onDisk is a configuration whose pool, device and file go with the test.
func onDisk(t *testing.T, hook crash.Hook) Config {
	t.Helper()
	cfg := Config{
		ZFS: zfstest.Client(t, zfs.Config{Crash: hook}), Name: zfstest.Name(t), Location: filepath.Join(zfstest.Dir(t), "pools"),
		SizeBytes: MinSize, Sparse: true, Hook: hook,
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

func findLoop(cfg Config) (loop.Device, error) {
	file, err := os.Open(cfg.path())
	if err != nil {
		return loop.Device{}, err
	}
	defer file.Close()
	return loop.Find(file)
}

func ensure(t *testing.T, cfg Config) Opened {
	t.Helper()
	opened, err := Ensure(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if opened.Problem != "" {
		t.Error(opened.Problem)
	}
	return opened
}

func refused(t *testing.T, what string, cfg Config, code dot.Code) {
	t.Helper()
	if _, err := Ensure(t.Context(), cfg); dot.CodeOf(err) != code {
		t.Errorf("%s: got %v, want code %d", what, err, code)
	}
}

func wantImported(t *testing.T, cfg Config, want bool) {
	t.Helper()
	if got, err := IsImported(cfg.Name); err != nil || got != want {
		t.Errorf("imported: got %v, %v", got, err)
	}
}

func TestLifeOfAPool(t *testing.T) {
	cfg := onDisk(t, nil)
	made := ensure(t, cfg)
	if !made.Created || made.Imported || made.Root != cfg.Name.Root() {
		t.Errorf("made: got %+v", made)
	}
	if again := ensure(t, cfg); again.Created || again.Imported || again.Device != made.Device {
		t.Errorf("adopted: got %+v", again)
	}

	wantImported(t, cfg, true)

	data, err := made.Root.Child("data")
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.ZFS.CreateFilesystem(t.Context(), data, zfs.Props{zfs.PropMountpoint: "legacy"}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := unix.Mount(data.String(), dir, "zfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if err := Export(t.Context(), cfg); dot.CodeOf(err) != dot.CodeAborted {
		t.Errorf("exporting what is mounted: got %v", err)
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Export(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := findLoop(cfg); !errors.Is(err, loop.ErrNotFound) {
		t.Errorf("the loop device is left: %v", err)
	}
	wantImported(t, cfg, false)

	renamed := cfg
	renamed.Name = zfstest.Name(t)
	if err := os.Link(cfg.path(), renamed.path()); err != nil {
		t.Fatal(err)
	}
	refused(t, "another pool's file", renamed, dot.CodePrecondition)
	if _, err := findLoop(cfg); !errors.Is(err, loop.ErrNotFound) {
		t.Errorf("a refusal left a loop device: %v", err)
	}

	if back := ensure(t, cfg); !back.Imported || back.Created {
		t.Errorf("imported: got %+v", back)
	}
	before, err := cfg.ZFS.Pool(t.Context(), cfg.Name)
	if err != nil {
		t.Fatal(err)
	}
	larger := cfg
	larger.SizeBytes *= 2
	if grown := ensure(t, larger); !grown.Grown {
		t.Errorf("grown: got %+v", grown)
	}
	after, err := cfg.ZFS.Pool(t.Context(), cfg.Name)
	if err != nil || after.Size < before.Size*3/2 {
		t.Errorf("the pool has %d bytes and had %d, %v", after.Size, before.Size, err)
	}
	if kept := ensure(t, cfg); kept.Grown || kept.SizeBytes != larger.SizeBytes || kept.Problem != "" {
		t.Errorf("larger than configured: got %+v", kept)
	}
	if now, err := cfg.ZFS.Pool(t.Context(), cfg.Name); err != nil || now.Size != after.Size {
		t.Errorf("the pool has %d bytes and had %d, %v", now.Size, after.Size, err)
	}
	if _, err := Adopt(t.Context(), cfg.ZFS, data); err != nil {
		t.Errorf("a root in a pool: %v", err)
	}
	missing, err := made.Root.Child("missing")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Adopt(t.Context(), cfg.ZFS, missing); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("a root that is not there: got %v", err)
	}
	elsewhere := larger
	elsewhere.Location = filepath.Join(cfg.Location, "elsewhere")
	refused(t, "a pool of that name that lies elsewhere", elsewhere, dot.CodePrecondition)
	if _, err := os.Stat(elsewhere.Location); err == nil {
		t.Error("a refusal made the location")
	}
}

func TestDamagedPoolIsRefused(t *testing.T) {
	cfg := onDisk(t, nil)
	file, err := cfg.allocate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := (marker{Pool: cfg.Name.String(), Size: cfg.SizeBytes, Made: true}).write(file); err != nil {
		t.Fatal(err)
	}
	refused(t, "a file whose pool is gone", cfg, dot.CodePrecondition)
	if _, err := loop.Find(file); !errors.Is(err, loop.ErrNotFound) {
		t.Errorf("a refusal left a loop device: %v", err)
	}
}
