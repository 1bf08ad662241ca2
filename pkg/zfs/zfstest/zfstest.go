// Package zfstest makes throwaway pools for tests. Only tests import it.
package zfstest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/loop"
)

// dataDir is a real disk on a lab machine; elsewhere the temporary directory is
// used.
const dataDir = "/var/lib/dotmesh"

const cleanupTimeout = 2 * time.Minute

// Pool is a pool that lives as long as one test.
type Pool struct {
	*zfs.Client
	Name   zfs.PoolName
	Device loop.Device
	// File backs Device.
	File string
}

// Root is the pool's root filesystem.
func (p *Pool) Root() zfs.Dataset { return p.Name.Root() }

// New makes a pool of size bytes on a loop device over a file in a temporary
// directory and destroys all of it when the test ends, however it ends. It
// fails the test when there is no /dev/zfs. cfg is completed and used for the
// client (crash hook, observer).
func New(t testing.TB, size int64, cfg zfs.Config) *Pool {
	t.Helper()
	client := Client(t, cfg)
	file, device := Loop(t, size)
	name := Name(t)
	CleanUp(t, name)
	spec := zfs.PoolSpec{Name: name, Devices: []string{device.Path}, Props: zfs.Props{"ashift": "12"}}
	if err := client.CreatePool(t.Context(), spec); err != nil {
		t.Fatalf("creating a pool: %v", err)
	}
	return &Pool{Client: client, Name: name, Device: device, File: file}
}

// Client fails the test when there is no /dev/zfs.
func Client(t testing.TB, cfg zfs.Config) *zfs.Client {
	t.Helper()
	if _, err := os.Stat("/dev/zfs"); err != nil {
		t.Fatalf("this test needs ZFS, run it as root on a lab machine: %v", err)
	}
	client, err := zfs.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Name is an unused pool name.
func Name(t testing.TB) zfs.PoolName {
	t.Helper()
	name, err := zfs.ParsePoolName(fmt.Sprintf("test-%08x", rand.Uint32()))
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// CleanUp destroys the pool at the test's end, mounted or not, if it is there.
func CleanUp(t testing.TB, name zfs.PoolName) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		defer cancel()
		client := Client(t, zfs.Config{}) // without the test's crash hook
		if _, err := client.Pool(ctx, name); err != nil {
			return // never made, or destroyed by the test
		}
		unmount(t, name)
		if err := client.DestroyPool(ctx, name); err != nil {
			t.Errorf("the pool %s is left behind: %v", name, err)
		}
	})
}

// Loop makes a file of size bytes (sparse) and attaches it. Both go with the
// test.
func Loop(t testing.TB, size int64) (string, loop.Device) {
	t.Helper()
	path := filepath.Join(Dir(t), "pool.img")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	device, err := loop.Attach(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		defer cancel()
		if err := device.Detach(ctx); err != nil {
			t.Errorf("the loop device is left behind: %v", err)
		}
	})
	return path, device
}

// Dir is a directory on a disk, where there is one, that goes with the test.
func Dir(t testing.TB) string {
	t.Helper()
	if _, err := os.Stat(dataDir); err != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(dataDir, "test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Mount mounts a legacy filesystem on a new directory until the test ends.
func Mount(t testing.TB, d zfs.Dataset) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(d.String(), dir, "zfs", unix.MS_NOATIME, ""); err != nil {
		t.Fatalf("mounting %s: %v", d, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}
