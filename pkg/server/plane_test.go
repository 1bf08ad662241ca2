package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/embedded"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// testStore is a real registry in this process.
func testStore(t *testing.T) *store.Store { return hookedStore(t, nil) }

// hookedStore is testStore, with a hook that each change of it passes.
func hookedStore(t *testing.T, hook crash.Hook) *store.Store {
	t.Helper()
	s, _ := storeAndEtcd(t, hook)
	return s
}

// storeAndEtcd is hookedStore, and stops the etcd that it is in.
func storeAndEtcd(t *testing.T, hook crash.Hook) (s *store.Store, stop func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	etcd, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(etcd.Close)
	t.Cleanup(stop)
	s, err = store.Open(t.Context(), store.Config{Endpoints: []string{etcd.Endpoint()}, Hook: hook})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, stop
}

// testPlane is a plane with a registry and a lease and on an empty pool: for the
// flows that change the registry alone.
func testPlane(t *testing.T) *plane {
	t.Helper()
	return planeOn(t, testStore(t))
}

func planeOn(t *testing.T, s *store.Store) *plane {
	t.Helper()
	return planeAt(t, s, dot.PoolIDOf(7), "here")
}

func planeAt(t *testing.T, s *store.Store, pool dot.PoolID, node string) *plane {
	t.Helper()
	c, err := s.EnsureCluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root, err := zfs.ParseDataset("pool")
	if err != nil {
		t.Fatal(err)
	}
	// It was never told of anything, so it finds nothing and needs no zfs.
	e, err := engine.Open(engine.Config{Root: root, Identity: engine.Identity{Pool: pool}, ClusterID: c.Value.ID, RunDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{
		store: s, engine: e, cluster: c.Value, pool: pool, node: node, locks: newKeyLocks(),
		work: newWorker(), tails: newTails(s), memory: newMemory(), now: time.Now, lease: &leaseKeeper{observe: func(bool) {}},
		health: &healthCache{last: engine.Health{SizeBytes: 100 << 30}}, stillAssigned: func(context.Context, *store.Store) error { return nil },
		published: &published{}, wanted: &wanted{}, peers: &peers{}, rebuilding: func() bool { return false },
	}
	if err := registerPool(t.Context(), s, dot.Pool{ID: p.pool, Node: p.node, Incarnation: c.Value.Incarnation}); err != nil {
		t.Fatal(err)
	}
	lease, err := s.AcquirePoolLease(t.Context(), p.pool, store.Instance{Name: "x", BootID: "y"}, leaseTTL)
	if err != nil {
		t.Fatal(err)
	}
	p.lease.serve(lease)
	return p
}

// add writes a ready dot with one branch and a volume on it.
func add(t *testing.T, p *plane, name string, master dot.PoolID) claim {
	t.Helper()
	full, err := parseDotName(name)
	if err != nil {
		t.Fatal(err)
	}
	v := dot.Volume{ID: dot.VolumeIDOf(name), CSIName: name, State: dot.Ready, Subdot: dot.DefaultSubdot, SizeBytes: 1 << 30}
	c := claim{volume: v}
	c.dot = dot.Dot{ID: dot.IDOf(v.ID), FullName: full, State: dot.Ready, MadeByPVC: true}
	c.branch = dot.Branch{ID: dot.BranchIDOf(v.ID), Dot: c.dot.ID, Name: dot.MasterBranch, State: dot.Ready, Master: master, Epoch: dot.Epoch{Incarnation: 1, Number: 1}}
	c.volume.Dot, c.volume.Branch = c.dot.ID, c.branch.ID
	c.dot.AssignSubdot(dot.DefaultSubdot, true)
	err = p.store.Txn().PutDot(c.dot).PutName(full, c.dot.ID).PutBranch(c.branch).PutVolume(c.volume).Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPublish(t *testing.T) {
	p := testPlane(t)
	elsewhere := dot.PoolIDOf(8)
	if err := registerPool(t.Context(), p.store, dot.Pool{ID: elsewhere, Node: "there"}); err != nil {
		t.Fatal(err)
	}
	ours, theirs := add(t, p, "ours", p.pool), add(t, p, "theirs", elsewhere)
	for _, c := range []struct {
		what, volume, node string
		readOnly           bool
		code               dot.Code
		refuse             string
	}{
		{what: "here", volume: ours.volume.ID.String(), node: "here"},
		{what: "here again", volume: ours.volume.ID.String(), node: "here"},
		{what: "here, read-only", volume: ours.volume.ID.String(), node: "here", readOnly: true, code: dot.CodeExists, refuse: "already"},
		{what: "ours there", volume: ours.volume.ID.String(), node: "there", code: dot.CodePrecondition, refuse: "dot admin/ours is on node here; pods that use it must run there"},
		{what: "theirs here", volume: theirs.volume.ID.String(), node: "here", code: dot.CodePrecondition, refuse: "is on node there"},
		{what: "theirs there", volume: theirs.volume.ID.String(), node: "there", code: dot.CodePrecondition, refuse: "ask that node's server"},
		{what: "unknown node", volume: ours.volume.ID.String(), node: "nowhere", code: dot.CodeNotFound, refuse: `no dotmesh server runs on node "nowhere"; dot admin/ours is on node here`},
		{what: "unknown node, theirs", volume: theirs.volume.ID.String(), node: "nowhere", code: dot.CodeNotFound, refuse: "dot admin/theirs is on node there"},
		{what: "unknown node, by hand", volume: "admin/ours", node: "nowhere", code: dot.CodeNotFound, refuse: "dot admin/ours is on node here"},
		{what: "unknown node and volume", volume: dot.VolumeIDOf("none").String(), node: "nowhere", code: dot.CodeNotFound, refuse: "does not exist"},
		{what: "unknown node, no dot", volume: "admin/none", node: "nowhere", code: dot.CodeNotFound, refuse: "admin/none does not exist"},
		{what: "unknown volume", volume: dot.VolumeIDOf("none").String(), node: "here", code: dot.CodeNotFound, refuse: "does not exist"},
		{what: "no id", volume: "", node: "here", code: dot.CodeInvalid, refuse: "missing"},
		{what: "no node", volume: ours.volume.ID.String(), node: "", code: dot.CodeInvalid, refuse: "missing"},
		{what: "not an id", volume: "nonsense", node: "here", code: dot.CodeNotFound, refuse: "nonsense"},
		{what: "a static handle of no dot", volume: "admin/none", node: "here", code: dot.CodeNotFound, refuse: "admin/none"},
	} {
		res, err := p.publishVolume(t.Context(), &v1.PublishVolumeRequest{Volume: c.volume, Node: c.node, ReadOnly: c.readOnly})
		switch {
		case c.refuse != "":
			if err == nil || dot.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.refuse) {
				t.Errorf("%s: got %v, want code %d and %q", c.what, err, c.code, c.refuse)
			}
		case err != nil || res.Pool == "":
			t.Errorf("%s: got %v, %v", c.what, res, err)
		}
	}
	if got := p.wanted.list(p.now()); !slices.Equal(got, []string{elsewhere.String()}) {
		t.Errorf("pods are said to wait for %v, want %s, which nobody serves", got, elsewhere)
	}
	if _, err := p.deleteVolume(t.Context(), &v1.DeleteVolumeRequest{Volume: ours.volume.ID.String()}); dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), "here") {
		t.Errorf("deleting a published volume: got %v", err)
	}
	for _, volume := range []string{ours.volume.ID.String(), ours.volume.ID.String(), "nonsense", dot.VolumeIDOf("none").String()} {
		for _, node := range []string{"nowhere", "here", ""} {
			if _, err := p.unpublishVolume(t.Context(), &v1.UnpublishVolumeRequest{Volume: volume, Node: node}); err != nil {
				t.Errorf("unpublish %s from %q: %v", volume, node, err)
			}
		}
	}
	if rec, err := p.store.GetVolume(t.Context(), ours.volume.ID); err != nil || len(rec.Value.Publications) != 0 {
		t.Errorf("got %v, %v", rec.Value.Publications, err)
	}
}

func TestListsArePaged(t *testing.T) {
	p := testPlane(t)
	want := map[string]bool{}
	for i := range 7 {
		c := add(t, p, fmt.Sprintf("dot-%d", i), p.pool)
		want[c.volume.ID.String()] = true
	}
	creating := add(t, p, "creating", p.pool)
	creating.volume.State = dot.Creating
	if err := p.store.Txn().PutVolume(creating.volume).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int32{0, 1, 3, 7, 100} {
		seen, token := map[string]bool{}, ""
		for {
			res, err := p.listVolumes(t.Context(), &v1.ListVolumesRequest{MaxEntries: size, StartingToken: token})
			if err != nil {
				t.Fatal(err)
			}
			if size > 0 && len(res.Volumes) > int(size) {
				t.Errorf("a page of %d has %d", size, len(res.Volumes))
			}
			for _, v := range res.Volumes {
				if seen[v.Id] {
					t.Errorf("%s was listed twice", v.Id)
				}
				seen[v.Id] = true
			}
			if token = res.NextToken; token == "" {
				break
			}
		}
		if len(seen) != len(want) {
			t.Errorf("pages of %d: got %d volumes, want %d", size, len(seen), len(want))
		}
	}
	if _, err := p.listVolumes(t.Context(), &v1.ListVolumesRequest{StartingToken: "invalid-token"}); dot.CodeOf(err) != dot.CodeAborted {
		t.Errorf("got %v", err)
	}
}

func TestSnapshotsAreListedAndDeleted(t *testing.T) {
	p := testPlane(t)
	c := add(t, p, "x", p.pool)
	for i := range 5 {
		commit := dot.Commit{ID: dot.NewCommitID(), Dot: c.dot.ID, Branch: c.branch.ID, CSIName: fmt.Sprintf("s%d", i), Volume: c.volume.ID, Sequence: uint64(i + 1)}
		s := store.Snapshot{CSIName: commit.CSIName, Dot: commit.Dot, Commit: commit.ID, Volume: c.volume.ID}
		if err := p.store.Txn().PutCommit(commit).PutSnapshot(s).Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first, err := p.listSnapshots(t.Context(), &v1.ListSnapshotsRequest{MaxEntries: 3})
	if err != nil || len(first.Snapshots) != 3 || first.NextToken == "" {
		t.Fatalf("got %v, %v", first, err)
	}
	rest, err := p.listSnapshots(t.Context(), &v1.ListSnapshotsRequest{MaxEntries: 3, StartingToken: first.NextToken})
	if err != nil || len(rest.Snapshots) != 2 || rest.NextToken != "" {
		t.Fatalf("got %v, %v", rest, err)
	}
	for volume, want := range map[string]int{c.volume.ID.String(): 5, dot.VolumeIDOf("none").String(): 0, "nonsense": 0} {
		if got, err := p.listSnapshots(t.Context(), &v1.ListSnapshotsRequest{Volume: volume}); err != nil || len(got.Snapshots) != want {
			t.Errorf("of %s: got %v, %v", volume, got, err)
		}
	}
	gone := first.Snapshots[0].Handle
	for _, handle := range []string{gone, gone, "nonsense", c.dot.ID.String() + "/none"} {
		if _, err := p.deleteSnapshot(t.Context(), &v1.DeleteSnapshotRequest{Handle: handle}); err != nil {
			t.Errorf("delete %s: %v", handle, err)
		}
	}
	if _, err := p.getSnapshot(t.Context(), &v1.GetSnapshotRequest{Handle: gone}); dot.CodeOf(err) != dot.CodeNotFound {
		t.Errorf("got %v", err)
	}
	if p.work.length() != 1 {
		t.Errorf("%d jobs, want the destruction of one snapshot", p.work.length())
	}
	if left, err := p.listSnapshots(t.Context(), &v1.ListSnapshotsRequest{}); err != nil || len(left.Snapshots) != 4 {
		t.Errorf("got %v, %v", left, err)
	}
}

func TestDotGoesWithItsLastVolume(t *testing.T) {
	p := testPlane(t)
	for _, c := range []struct {
		what  string
		with  func(claim, *store.Txn)
		stays bool
	}{
		{"nothing else", func(claim, *store.Txn) {}, false},
		{"a VolumeSnapshot", func(c claim, t *store.Txn) {
			t.PutCommit(dot.Commit{ID: dot.NewCommitID(), Dot: c.dot.ID, Branch: c.branch.ID, CSIName: "s"})
		}, false},
		{"a commit of dm", func(c claim, t *store.Txn) {
			t.PutCommit(dot.Commit{ID: dot.NewCommitID(), Dot: c.dot.ID, Branch: c.branch.ID})
		}, true},
		{"a commit of dm on its way out", func(c claim, t *store.Txn) {
			t.PutCommit(dot.Commit{ID: dot.NewCommitID(), Dot: c.dot.ID, Branch: c.branch.ID, Deleting: true})
		}, false},
		{"a tag", func(c claim, t *store.Txn) {
			t.PutCommit(dot.Commit{ID: dot.NewCommitID(), Dot: c.dot.ID, Branch: c.branch.ID, CSIName: "s", Tags: []string{"v1"}})
		}, true},
		{"a branch", func(c claim, t *store.Txn) {
			b := c.branch
			b.ID = dot.NewBranchID()
			b.Name, _ = dot.ParseBranchName("master-DIVERGED-20260101T000000Z")
			t.PutBranch(b)
		}, true},
		{"a dot that dm made", func(c claim, t *store.Txn) { c.dot.MadeByPVC = false; t.PutDot(c.dot) }, true},
	} {
		of := add(t, p, strings.ReplaceAll(c.what, " ", "-"), p.pool)
		txn := p.store.Txn()
		c.with(of, txn.PutVolume(of.volume))
		if err := txn.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		d, err := p.store.GetDot(t.Context(), of.dot.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, goes, err := p.dotGoes(t.Context(), d.Value, of.volume.ID); err != nil || goes == c.stays {
			t.Errorf("%s: goes is %t, %v", c.what, goes, err)
		}
	}
	c := add(t, p, "going", p.pool)
	if _, err := p.deleteVolume(t.Context(), &v1.DeleteVolumeRequest{Volume: c.volume.ID.String()}); err != nil {
		t.Fatal(err)
	}
	if _, there, err := p.lookup(t.Context(), c.dot.FullName); there || err != nil {
		t.Errorf("the name is not free: %v", err)
	}
	if d, err := p.store.GetDot(t.Context(), c.dot.ID); err != nil || d.Value.State != dot.Deleting {
		t.Errorf("got %v, %v", d.Value.State, err)
	}
}

func TestWhoHasLostTheLeaseChangesNothing(t *testing.T) {
	p := testPlane(t)
	c := add(t, p, "x", p.pool)
	// Another run of the same server takes over.
	if _, err := p.store.AcquirePoolLease(t.Context(), p.pool, store.Instance{Name: "x", BootID: "y"}, leaseTTL); err != nil {
		t.Fatal(err)
	}
	_, err := p.publishVolume(t.Context(), &v1.PublishVolumeRequest{Volume: c.volume.ID.String(), Node: "here"})
	if dot.CodeOf(err) != dot.CodeUnavailable {
		t.Errorf("got %v, want CodeUnavailable", err)
	}
	p.lease.serve(nil)
	if _, err := p.deleteVolume(t.Context(), &v1.DeleteVolumeRequest{Volume: c.volume.ID.String()}); dot.CodeOf(err) != dot.CodeUnavailable {
		t.Errorf("got %v, want CodeUnavailable", err)
	}
}

func TestBeginningACommit(t *testing.T) {
	p := testPlane(t)
	c := add(t, p, "x", p.pool)
	o := order{name: "s", branch: c.branch, commit: dot.Commit{Dot: c.dot.ID, Branch: c.branch.ID, Volume: c.volume.ID}}
	first, err := p.beginCommit(t.Context(), o)
	if err != nil || first.Value.Commit.Sequence != 1 || !first.Value.Commit.Parent.IsZero() {
		t.Fatalf("got %+v, %v", first.Value, err)
	}
	o.name = "s2"
	second, err := p.beginCommit(t.Context(), o)
	if err != nil || second.Value.Commit.Sequence != 2 || second.Value.Commit.Parent != first.Value.Commit.ID {
		t.Fatalf("got %+v, %v", second.Value, err)
	}
	o.name = "s3"
	o.branch.Epoch = o.branch.Epoch.Next()
	if _, err := p.beginCommit(t.Context(), o); dot.CodeOf(err) != dot.CodeAborted {
		t.Errorf("another epoch: got %v", err)
	}
	o.branch.Epoch = c.branch.Epoch
	if err := p.store.Txn().PutSnapshot(store.Snapshot{CSIName: "s3", Dot: c.dot.ID, Commit: dot.NewCommitID()}).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.beginCommit(t.Context(), o); !errors.Is(err, errDone) {
		t.Errorf("a snapshot that exists: got %v", err)
	}
	if err := p.store.Txn().DeleteVolume(c.volume.ID).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.name = "s4"
	if _, err := p.beginCommit(t.Context(), o); dot.CodeOf(err) != dot.CodeNotFound {
		t.Errorf("a deleted volume: got %v", err)
	}
}
