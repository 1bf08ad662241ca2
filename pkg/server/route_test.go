package server

import (
	"errors"
	"strings"
	"testing"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

func contains(err error, says string) bool { return err != nil && strings.Contains(err.Error(), says) }

// TestWhatLiesElsewhereIsLeftAlone: a flow that another pool's server has to do tells
// which, before it has changed anything, whatever it would have had to finish or undo.
func TestWhatLiesElsewhereIsLeftAlone(t *testing.T) {
	p := testPlane(t)
	away := dot.PoolIDOf(8)
	if err := registerPool(t.Context(), p.store, dot.Pool{ID: away, Node: "there", Address: "there:1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.store.AcquirePoolLease(t.Context(), away, store.Instance{Name: "there", BootID: "z"}, leaseTTL); err != nil {
		t.Fatal(err)
	}
	ready, creating, deleting := add(t, p, "ready", away), add(t, p, "creating", away), add(t, p, "deleting", away)
	creating.volume.State, creating.dot.State, creating.branch.State = dot.Creating, dot.Creating, dot.Creating
	creating.volume.NewDot = true
	deleting.volume.State = dot.Deleting
	begun := dot.Commit{ID: dot.NewCommitID(), Dot: ready.dot.ID, Branch: ready.branch.ID, Volume: ready.volume.ID, CSIName: "begun"}
	orphan := dot.Commit{ID: dot.NewCommitID(), Dot: ready.dot.ID, Branch: ready.branch.ID, Volume: dot.VolumeIDOf("gone"), CSIName: "orphan"}
	made := dot.Commit{ID: dot.NewCommitID(), Dot: ready.dot.ID, Branch: ready.branch.ID, Volume: ready.volume.ID, CSIName: "made"}
	err := p.store.Txn().PutVolume(creating.volume).PutDot(creating.dot).PutBranch(creating.branch).PutVolume(deleting.volume).
		PutIntent(store.Intent{Epoch: ready.branch.Epoch, Commit: begun}).PutIntent(store.Intent{Epoch: ready.branch.Epoch, Commit: orphan}).
		PutCommit(made).PutSnapshot(store.Snapshot{CSIName: "made", Dot: made.Dot, Commit: made.ID, Volume: made.Volume}).Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	handle := ready.dot.ID.String() + "/" + made.ID.String()
	id := func(c claim) string { return c.volume.ID.String() }
	named := &v1.CreateVolumeRequest{CsiName: "joins", DotName: "ready", RequiredBytes: 1 << 20, CrossNamespace: true}
	ctx := t.Context()
	before := revisions(t, p.store)
	for what, call := range map[string]func() error{
		"create, a retry": func() error { return only(p.createVolume(ctx, &v1.CreateVolumeRequest{CsiName: "creating"})) },
		"create, joining": func() error { return only(p.createVolume(ctx, named)) },
		"create, restoring": func() error {
			return only(p.createVolume(ctx, &v1.CreateVolumeRequest{CsiName: "r", SourceSnapshot: handle}))
		},
		"create, cloning": func() error {
			return only(p.createVolume(ctx, &v1.CreateVolumeRequest{CsiName: "c", SourceVolume: id(ready)}))
		},
		"create, placed there": func() error {
			return only(p.createVolume(ctx, &v1.CreateVolumeRequest{CsiName: "p", PreferredNodes: []string{"there"}}))
		},
		"delete":               func() error { return only(p.deleteVolume(ctx, &v1.DeleteVolumeRequest{Volume: id(ready)})) },
		"delete, a retry":      func() error { return only(p.deleteVolume(ctx, &v1.DeleteVolumeRequest{Volume: id(deleting)})) },
		"delete, not made yet": func() error { return only(p.deleteVolume(ctx, &v1.DeleteVolumeRequest{Volume: id(creating)})) },
		"publish, by hand": func() error {
			return only(p.publishVolume(ctx, &v1.PublishVolumeRequest{Volume: "admin/ready", Node: "there"}))
		},
		"expand": func() error {
			return only(p.expandVolume(ctx, &v1.ExpandVolumeRequest{Volume: id(ready), RequiredBytes: 200 << 30}))
		},
		"snapshot": func() error {
			return only(p.createSnapshot(ctx, &v1.CreateSnapshotRequest{CsiName: "new", Volume: id(ready)}))
		},
		"snapshot, a retry": func() error {
			return only(p.createSnapshot(ctx, &v1.CreateSnapshotRequest{CsiName: "begun", Volume: id(ready)}))
		},
		"snapshot, volume gone": func() error {
			return only(p.createSnapshot(ctx, &v1.CreateSnapshotRequest{CsiName: "orphan", Volume: dot.VolumeIDOf("gone").String()}))
		},
		"delete a snapshot": func() error { return only(p.deleteSnapshot(ctx, &v1.DeleteSnapshotRequest{Handle: handle})) },
		"dm commit":         func() error { return only(p.commitDot(ctx, &v1.CommitRequest{Dot: "ready", Message: "m"})) },
		"dm branch":         func() error { return only(p.createBranch(ctx, &v1.CreateBranchRequest{Dot: "ready", Name: "b"})) },
		"dm reset": func() error {
			return only(p.resetBranch(ctx, &v1.ResetBranchRequest{Dot: "ready", Commit: made.ID.String()}))
		},
		"dm delete": func() error { return only(p.deleteDot(ctx, &v1.DeleteDotRequest{Dot: "ready"})) },
		"dm share":  func() error { return only(p.shareDot(ctx, &v1.ShareDotRequest{Dot: "ready", Share: []string{"x"}})) },
		"a job, of a volume": func() error {
			return errors.Join(p.settleVolume(ctx, creating.volume.ID), &elsewhere{pool: dot.Pool{ID: away}, refusal: dot.Precondition("")})
		},
	} {
		if err := call(); !wants(err, away) {
			t.Errorf("%s: got %v, want it to be the other server's", what, err)
		}
	}
	if after := revisions(t, p.store); after != before {
		t.Errorf("the registry changed:\n%s\n%s", before, after)
	}
	// A clean-up of what lies elsewhere is refused there, by its commit or branch.
	for p.work.length() > 0 {
		next, _ := p.work.pick(p.now())
		p.work.do(ctx, next)
		if after := revisions(t, p.store); after != before {
			t.Errorf("the job %q changed the registry:\n%s\n%s", next.key, before, after)
		}
	}
}

func only[R any](_ R, err error) error { return err }

func wants(err error, pool dot.PoolID) bool {
	var other *elsewhere
	return errors.As(err, &other) && other.pool.ID == pool
}

// revisions are the keys of what a flow writes, with when each was written.
func revisions(t *testing.T, s *store.Store) string {
	t.Helper()
	var all strings.Builder
	for _, kind := range []store.Kind{
		store.KindDots, store.KindNames, store.KindBranches, store.KindEpochs, store.KindCommits, store.KindVolumes, store.KindIntents, store.KindSnapshots, store.KindDeleted,
	} {
		now, ok := <-s.Watch(t.Context(), store.Of(kind), 0)
		if !ok || !now.Resync {
			t.Fatalf("the registry cannot be read: %v", now)
		}
		for _, e := range now.Now {
			all.WriteString(e.Key.String() + " " + string(e.Value) + "\n")
		}
	}
	return all.String()
}

// TestAPodThatCannotReachItsDot: what is made of a dot lies where the dot does, and
// is refused while the scheduler can still choose that node.
func TestAPodThatCannotReachItsDot(t *testing.T) {
	p := testPlane(t)
	c := add(t, p, "ours", p.pool)
	join := func(csiName string, nodes ...string) error {
		return only(p.createVolume(t.Context(), &v1.CreateVolumeRequest{CsiName: csiName, DotName: "ours", CrossNamespace: true, RequiredBytes: 1 << 20, PreferredNodes: nodes}))
	}
	if err := join("there", "there"); dot.CodeOf(err) != dot.CodeExhausted || !contains(err, "admin/ours is on node here") {
		t.Errorf("got %v, want CodeExhausted", err)
	}
	clone := &v1.CreateVolumeRequest{CsiName: "clone", SourceVolume: c.volume.ID.String(), CrossNamespace: true, PreferredNodes: []string{"there"}}
	if err := only(p.createVolume(t.Context(), clone)); dot.CodeOf(err) != dot.CodeExhausted || !contains(err, "admin/ours is on node here") {
		t.Errorf("got %v, want CodeExhausted", err)
	}
	if _, there, err := found(p.store.GetVolume(t.Context(), dot.VolumeIDOf("there"))); there || err != nil {
		t.Errorf("a volume was recorded, or %v", err)
	}
	// What comes after is the pool's, which this test has not.
	for what, err := range map[string]error{"one of several nodes": join("several", "there", "here"), "no node": join("none")} {
		if dot.CodeOf(err) == dot.CodeExhausted {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
