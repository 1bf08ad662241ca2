//go:build zfs && long

package server_test

import (
	"context"
	"errors"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
	"github.com/dotmesh-io/dotmesh-csi/pkg/server"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/zfstest"
)

// A pool that stays with its node is released too, and the next start has it again.
func TestReleaseOfAPoolThatStays(t *testing.T) {
	d := newDisk(t)
	cfg := d.config(nil)
	cfg.Pool = server.PoolConfig{Name: d.name.String(), Location: zfstest.Dir(t), SizeBytes: pool.MinSize, Sparse: true}
	r := d.startWith(cfg)
	volume := must(t, r.Volumes.CreateVolume, pvc("first")).Volume
	if res := release(t, r, 0); !res.Released {
		t.Fatalf("got %v", res)
	}
	if _, err := d.pool.Pool(t.Context(), d.name); !errors.Is(err, zfs.ErrNoSuchPool) {
		t.Errorf("the pool is still imported: %v", err)
	}
	r.stop()
	r = d.startWith(cfg)
	must(t, r.Volumes.GetVolume, &v1.GetVolumeRequest{Volume: volume.Id})
	if res := release(t, r, 0); !res.Released {
		t.Errorf("got %v", res)
	}
}

// giveAway is what another node's server does first.
func (d *disk) giveAway(ctx context.Context, generation uint64) error {
	id, err := dot.ParseClaimID(aClaim)
	if err != nil {
		return err
	}
	rec, err := d.store.GetClaim(ctx, id)
	if err != nil {
		return err
	}
	later := rec.Value
	later.Generation, later.Imported, later.Released = generation, false, false
	return d.store.Txn().Unchanged(store.ClaimKey(id), rec.Revision).PutClaim(later).Commit(ctx)
}

// ends waits for a server that finds its disk given away.
func (d *disk) ends(r *running) {
	d.t.Helper()
	select {
	case err := <-r.exit:
		if !errors.Is(err, pool.ErrGivenAway) {
			d.t.Errorf("got %v", err)
		}
	case <-time.After(2 * time.Minute):
		d.t.Error("the server goes on")
	}
}

// A server whose disk was given away finds out: at once, where that was while it
// imported the pool, which it exports again, and when it has been cut off from etcd.
func TestDiskGivenAwayMeanwhile(t *testing.T) {
	d := newDisk(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	first := d.startWith(d.configOf(1, nil))
	id := must(t, first.Server.GetStatus, &v1.GetStatusRequest{}).PoolId
	if res := release(t, first, 1); !res.Released {
		t.Fatalf("got %v", res)
	}
	first.stop()
	d.registry(ctx) // opens the test's own connection
	d.ends(d.launch(d.configOf(2, func(ctx context.Context, p crash.Point) {
		if p == zfs.AfterImport {
			if err := d.giveAway(ctx, 3); err != nil {
				t.Error(err)
			}
		}
	})))
	d.gone(id)

	third := d.startWith(d.configOf(3, nil))
	if err := d.giveAway(ctx, 4); err != nil {
		t.Fatal(err)
	}
	d.stopEtcd()
	d.startEtcd()
	d.ends(third)
}
