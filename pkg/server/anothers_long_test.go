//go:build zfs && long

package server_test

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/server"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// TestDiskThatIsGivenAwayDuringAStart: the start waits for another pool's recovery when
// another node gets the disk. A pool that a pod uses stays until the first start after
// the pod's end.
func TestDiskThatIsGivenAwayDuringAStart(t *testing.T) {
	d := newDisk(t)
	d.registry(t.Context())
	waits := store.Recovery{Cluster: "2b0e3c52-66cb-4a4d-8a3b-3c64d1b0f3a1", Pool: dot.PoolIDOf(8), Node: nodeB, Began: time.Now(), Incarnation: 2}
	if err := d.store.Txn().PutRecovery(waits).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for generation := uint64(1); generation < 4; generation += 2 {
		r := d.launch(d.configOf(generation, nil))
		d.eventually("the start does not wait", func() string { return notReadyBecause(t, r, "is being added to the registry") })
		if _, err := d.pool.Pool(t.Context(), d.name); err != nil {
			t.Fatalf("the pool is not imported: %v", err)
		}
		used := generation == 1
		dir := t.TempDir()
		if used {
			data, err := d.name.Root().Child("data")
			if err != nil {
				t.Fatal(err)
			}
			if err := d.pool.CreateFilesystem(t.Context(), data, zfs.Props{zfs.PropMountpoint: "legacy"}); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount(data.String(), dir, "zfs", 0, ""); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.giveAway(t.Context(), generation+1); err != nil {
			t.Fatal(err)
		}
		d.ends(r)
		r.stop()
		if !used {
			d.gone("none")
			continue
		}
		write(t, dir, "while a pod uses it")
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := d.pool.Pool(t.Context(), d.name); err != nil {
			t.Errorf("the pool that a pod uses was exported: %v", err)
		}
		d.refuses(d.configOf(generation, nil))
		d.gone("none")
	}
}

// TestPoolOfAnotherClusterIsPutBack when the server has imported it to find out, and
// only then.
func TestPoolOfAnotherClusterIsPutBack(t *testing.T) {
	d := newDisk(t)
	r := d.startWith(d.configOf(1, nil))
	r.stop()
	d.loseRegistry()
	other := d.start(nil) // a cluster begins with the machine's other pool
	must(t, other.Dots.CreateDot, &v1.CreateDotRequest{Dot: "x"})
	other.stop()

	refused := func(cfg server.Config) {
		d.t.Helper()
		d.machine.refuses(cfg, "it is not this cluster's")
	}
	refused(d.configOf(2, nil))
	if _, err := d.pool.Pool(t.Context(), d.name); err != nil {
		t.Errorf("a pool that was imported before was exported: %v", err)
	}
	device, err := d.attached()
	if err := errors.Join(err, d.pool.Export(t.Context(), d.name), device.Detach(t.Context())); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and nothing says that it was released
		refused(d.configOf(2, nil))
		d.gone("none")
	}
}
