//go:build zfs

package server_test

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// TestServersThatOverlap starts a server while its predecessor still serves, as
// when a container is replaced.
func TestServersThatOverlap(t *testing.T) {
	m := newMachine(t)
	first := m.spawn(false, "")
	m.awaitReady(first.running)
	second := m.spawn(false, "")
	for range 10 {
		if res, err := call(second.Server.GetStatus, &v1.GetStatusRequest{}); err == nil && res.Ready {
			t.Fatal("two servers serve one pool")
		}
		time.Sleep(300 * time.Millisecond)
	}
	must(t, first.Volumes.CreateVolume, pvc("late"))
	first.kill()
	m.awaitReady(second.running)
	if err := stage("late")(second.running); err != nil {
		t.Errorf("what the first server did while the second waited: %v", err)
	}
}

// TestPoolIsListedWhenTheLeaseIsHeld has another server's lease end only after the
// pool was changed.
func TestPoolIsListedWhenTheLeaseIsHeld(t *testing.T) {
	ctx := t.Context()
	m := newMachine(t)
	r := m.start(nil)
	r.stop()
	id, err := engine.Identify(ctx, m.pool.Client, m.pool.Root())
	if err != nil {
		t.Fatal(err)
	}
	m.registry(ctx)
	other, err := m.store.AcquirePoolLease(ctx, id.Pool, store.Instance{Name: "elsewhere", BootID: "another"}, 15*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	waiting := m.launch(m.config(nil))
	time.Sleep(10 * time.Second) // until it has opened the pool and waits
	if res, err := call(waiting.Server.GetStatus, &v1.GetStatusRequest{}); err == nil && res.Ready {
		t.Fatal("ready without the lease")
	}
	e, err := engine.Open(engine.Config{ZFS: m.pool.Client, Root: m.pool.Root(), Identity: id, ClusterID: id.Cluster, RunDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Load(ctx); err != nil {
		t.Fatal(err)
	}
	name, err := dot.ParseName("late")
	if err != nil {
		t.Fatal(err)
	}
	d := dot.Dot{ID: dot.NewID(), FullName: dot.FullName{Namespace: dot.DefaultNamespace, Name: name}, State: dot.Ready}
	b := dot.Branch{ID: dot.NewBranchID(), Dot: d.ID, Name: dot.MasterBranch, State: dot.Ready, Master: id.Pool, Epoch: dot.Epoch{Incarnation: 1, Number: 1}}
	if err := e.CreateBranch(ctx, engine.BranchSpec{Dot: d, Branch: b}); err != nil {
		t.Fatal(err)
	}
	other.Revoke(ctx)
	// The registry does not know the branch, so that it is refused if the branch is
	// seen at all.
	select {
	case err := <-waiting.exit:
		if dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), b.ID.String()) {
			t.Errorf("got %v, want a refusal that names branch %s", err, b.ID)
		}
	case <-time.After(2 * time.Minute):
		t.Error("the pool was listed before the lease was held")
	}
}
