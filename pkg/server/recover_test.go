package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

func TestPlanRecovery(t *testing.T) {
	pool := dot.PoolIDOf(7)
	name := func(s string) dot.FullName {
		n, err := parseDotName(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	one := dot.Dot{ID: dot.NewID(), FullName: name("one"), MadeByPVC: true, Owner: "a"}
	twin := dot.Dot{ID: dot.NewID(), FullName: name("one")}
	gone := dot.Dot{ID: dot.NewID(), FullName: name("gone"), MadeByPVC: true}
	branch := func(hidden bool, number uint64) dot.Branch {
		return dot.Branch{ID: dot.NewBranchID(), Name: dot.MasterBranch, Hidden: hidden, Epoch: dot.Epoch{Incarnation: 3, Number: number}}
	}
	head, old, second, held := branch(false, 2), branch(true, 1), branch(false, 0), branch(true, 1)
	younger := branch(false, 1)
	volume := dot.Volume{ID: dot.VolumeIDOf("v"), CSIName: "v", SizeBytes: 5, Publications: map[string]dot.Publication{"x": {}}}
	commit := dot.Commit{ID: dot.NewCommitID(), Dot: gone.ID, Branch: held.ID, CSIName: "snap"}
	inv := engine.Inventory{
		Branches: []engine.FoundBranch{
			{Dot: one, Branch: old, Volumes: []dot.Volume{volume}},
			{Dot: one, Branch: head, Volumes: []dot.Volume{volume}},
			{Dot: one, Branch: younger, Volumes: []dot.Volume{volume}},
			{Dot: twin, Branch: second},
			{Dot: gone, Branch: held, Volumes: []dot.Volume{{ID: dot.VolumeIDOf("deleted")}}},
		},
		Commits: []engine.FoundCommit{
			{Commit: commit},
			{Commit: dot.Commit{ID: dot.NewCommitID(), Dot: one.ID, Branch: head.ID}, Deleted: true},
			{Commit: dot.Commit{ID: dot.NewCommitID(), Dot: dot.NewID(), Branch: dot.NewBranchID()}},
		},
		Unknown: []engine.Unknown{{Name: "pool/x", Reason: "odd"}},
	}
	if got := highestIncarnation(inv); got != 3 {
		t.Fatalf("got incarnation %d, want 3", got)
	}
	if got := highestIncarnation(engine.Inventory{Incarnation: 5, Branches: inv.Branches}); got != 5 {
		t.Fatalf("got incarnation %d, want the root's, 5", got)
	}
	got := planRecovery(inv, pool, 4, time.Now(), holding{})

	if len(got.dots) != 3 || len(got.branches) != 5 || len(got.volumes) != 1 || len(got.tombstones) != 2 || len(got.commits) != 1 {
		t.Fatalf("got %d dots, %d branches, %d volumes, %d tombstones, %d commits", len(got.dots), len(got.branches), len(got.volumes), len(got.tombstones), len(got.commits))
	}
	byID, names, inUse := map[dot.ID]dot.Dot{}, map[dot.FullName]bool{}, map[string]bool{}
	for _, d := range got.dots {
		byID[d.ID] = d
		if d.State == dot.Ready && names[d.FullName] {
			t.Errorf("two dots are called %s", d.FullName)
		}
		names[d.FullName] = true
	}
	if byID[one.ID].FullName != one.FullName || byID[one.ID].State != dot.Ready || byID[one.ID].Released {
		t.Errorf("got %+v", byID[one.ID])
	}
	if byID[gone.ID].State != dot.Deleting {
		t.Error("a dot with hidden branches only is on its way out")
	}
	for _, b := range got.branches {
		key := b.Dot.String() + b.Name.String()
		if inUse[key] {
			t.Errorf("two branches of a dot are called %s", b.Name)
		}
		inUse[key] = true
		if b.Epoch.Incarnation != 4 || b.Epoch.Number == 0 || b.Master != pool || b.State != dot.Ready {
			t.Errorf("got %+v", b)
		}
		if b.ID == head.ID && b.Name != dot.MasterBranch {
			t.Error("the elder of two visible branches keeps the name")
		}
	}
	if v := got.volumes[0]; v.Dot != one.ID || v.Branch != head.ID || v.State != dot.Ready || v.SizeBytes != 5 || v.Publications != nil {
		t.Errorf("got %+v", v)
	}
	if notes := strings.Join(got.notes, "\n"); !strings.Contains(notes, "both called admin/one") || !strings.Contains(notes, "two branches master") || !strings.Contains(notes, "pool/x") {
		t.Errorf("got notes\n%s", notes)
	}
}

func TestHistoryGoesBackToTheOrigins(t *testing.T) {
	id := dot.NewID()
	master := dot.Branch{ID: dot.NewBranchID(), Dot: id, Name: dot.MasterBranch}
	var commits []store.Record[dot.Commit]
	add := func(b dot.Branch, name string, sequence uint64, deleting bool) dot.CommitID {
		c, err := dot.ParseCommitID(name)
		if err != nil {
			t.Fatal(err)
		}
		commits = append(commits, store.Record[dot.Commit]{Value: dot.Commit{ID: c, Dot: id, Branch: b.ID, Sequence: sequence, Deleting: deleting}})
		return c
	}
	add(master, "m1", 1, false)
	add(master, "m2", 2, true)
	at := add(master, "m3", 3, false)
	add(master, "m4", 4, false)
	side := dot.Branch{ID: dot.NewBranchID(), Dot: id, Origin: &dot.Origin{Branch: master.ID, Commit: at}}
	add(side, "s1", 1, false)
	elsewhere := dot.Branch{ID: dot.NewBranchID(), Dot: id, Origin: &dot.Origin{Branch: dot.NewBranchID(), Commit: at}}
	byID := map[dot.BranchID]dot.Branch{master.ID: master, side.ID: side, elsewhere.ID: elsewhere}
	for _, c := range []struct {
		of   dot.Branch
		want string
	}{{master, "m1 m3 m4"}, {side, "m1 m3 s1"}, {elsewhere, ""}} {
		var got []string
		for _, commit := range history(c.of, byID, commits) {
			got = append(got, commit.ID.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("got %v, want %s", got, c.want)
		}
	}
}

func TestRecoveryGivesAVolumeToOneBranch(t *testing.T) {
	volume := dot.Volume{ID: dot.VolumeIDOf("v"), CSIName: "v"}
	name, err := parseDotName("x")
	if err != nil {
		t.Fatal(err)
	}
	first, second := dot.Dot{ID: dot.NewID(), FullName: name, MadeByPVC: true}, dot.Dot{ID: dot.NewID(), FullName: name, MadeByPVC: true}
	found := func(d dot.Dot) engine.FoundBranch {
		return engine.FoundBranch{Dot: d, Branch: dot.Branch{ID: dot.NewBranchID(), Name: dot.MasterBranch}, Volumes: []dot.Volume{volume}}
	}
	elder, younger, other := found(first), found(first), found(second)
	for _, c := range []struct {
		what     string
		branches []engine.FoundBranch
		want     engine.FoundBranch
	}{
		{"a reset that was not finished", []engine.FoundBranch{elder, younger}, elder},
		{"a volume that was deleted and made again", []engine.FoundBranch{elder, other}, other},
		{"both", []engine.FoundBranch{elder, younger, other}, other},
	} {
		got := planRecovery(engine.Inventory{Branches: c.branches}, dot.PoolIDOf(7), 2, time.Now(), holding{})
		if len(got.volumes) != 1 || got.volumes[0].Branch != c.want.Branch.ID || got.volumes[0].Dot != c.want.Dot.ID {
			t.Errorf("%s: got %+v, want one on %s", c.what, got.volumes, c.want.Branch.ID)
		}
		for _, b := range got.branches {
			if b.ID == c.want.Branch.ID && b.Name != dot.MasterBranch {
				t.Errorf("%s: the volume is on the branch %s", c.what, b.Name)
			}
		}
		for _, d := range got.dots {
			if (d.ID == c.want.Dot.ID) != (d.FullName == name) {
				t.Errorf("%s: dot %s is called %s", c.what, d.ID, d.FullName)
			}
		}
		if notes := strings.Join(got.notes, "\n"); !strings.Contains(notes, volume.ID.String()) {
			t.Errorf("%s: got notes %q", c.what, notes)
		}
	}
}

// TestPlanRecoveryBesideWhatIsThere adds a pool with one dot, its branch, a volume and
// a snapshot of it to a registry that has something already.
func TestPlanRecoveryBesideWhatIsThere(t *testing.T) {
	ours, theirs := dot.PoolIDOf(7), dot.PoolIDOf(8)
	name, err := parseDotName("x")
	if err != nil {
		t.Fatal(err)
	}
	d := dot.Dot{ID: dot.NewID(), FullName: name, MadeByPVC: true}
	b := dot.Branch{ID: dot.NewBranchID(), Dot: d.ID, Name: dot.MasterBranch}
	v := dot.Volume{ID: dot.VolumeIDOf("v"), CSIName: "v", Dot: d.ID, Branch: b.ID}
	c := dot.Commit{ID: dot.NewCommitID(), Dot: d.ID, Branch: b.ID, CSIName: "snap", Volume: v.ID}
	inv := engine.Inventory{
		Branches: []engine.FoundBranch{{Dot: d, Branch: b, Volumes: []dot.Volume{v}}},
		Commits:  []engine.FoundCommit{{Commit: c}},
	}
	suffixed := dot.FullName{Namespace: name.Namespace, Name: dot.NameFor("x." + d.ID.String())}
	mine := dot.SnapshotHandle{Dot: d.ID, Commit: c.ID}
	other := dot.SnapshotHandle{Dot: dot.NewID(), Commit: dot.NewCommitID()}
	on := func(pool dot.PoolID, id dot.BranchID, name dot.BranchName) map[dot.BranchID]dot.Branch {
		return map[dot.BranchID]dot.Branch{id: {ID: id, Dot: d.ID, Name: name, Master: pool, State: dot.Ready}}
	}
	written := holding{
		dots: map[dot.ID]dot.Dot{d.ID: d}, names: map[dot.FullName]dot.ID{name: d.ID}, branches: on(ours, b.ID, b.Name),
		commits: map[dot.SnapshotHandle]bool{mine: true}, snapshots: map[string]dot.SnapshotHandle{"snap": mine}, volumes: map[dot.VolumeID]dot.BranchID{v.ID: b.ID},
	}
	hiddenAs, err := hiddenName(dot.MasterBranch, b.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what string
		has  holding

		dots, branches, commits, snapshots, volumes int
		called                                      dot.FullName   // the dot that is added
		branch                                      dot.BranchName // of the branch that is added
		released                                    bool
		notes                                       string
	}{
		{what: "an empty registry", dots: 1, branches: 1, commits: 1, snapshots: 1, volumes: 1, called: name, branch: dot.MasterBranch},
		{what: "another dot has the name", has: holding{names: map[dot.FullName]dot.ID{name: dot.NewID()}},
			dots: 1, branches: 1, commits: 1, snapshots: 1, volumes: 1, called: suffixed, branch: dot.MasterBranch, notes: "both called admin/x"},
		{what: "another branch has the volume", has: holding{volumes: map[dot.VolumeID]dot.BranchID{v.ID: dot.NewBranchID()}},
			dots: 1, branches: 1, commits: 1, snapshots: 1, called: name, branch: dot.MasterBranch, released: true, notes: "volume " + v.ID.String() + " stays on branch"},
		{what: "another commit is the snapshot", has: holding{snapshots: map[string]dot.SnapshotHandle{"snap": other}},
			dots: 1, branches: 1, commits: 1, volumes: 1, called: name, branch: dot.MasterBranch, notes: "the snapshot snap stays commit " + other.String()},
		{what: "another pool has the dot", has: holding{dots: map[dot.ID]dot.Dot{d.ID: d}, branches: on(theirs, dot.NewBranchID(), dot.MasterBranch)},
			notes: "the registry has its dot admin/x on pool 8"},
		{what: "another pool has the very branch", has: holding{dots: map[dot.ID]dot.Dot{d.ID: d}, branches: on(theirs, b.ID, b.Name)},
			notes: "branch " + b.ID.String() + " is left as it is"},
		// What an interrupted run left, and what servers made of it since.
		{what: "all is written", has: written},
		{what: "the dot has a name of its own", has: holding{dots: map[dot.ID]dot.Dot{d.ID: {ID: d.ID, FullName: suffixed}}, names: map[dot.FullName]dot.ID{name: dot.NewID(), suffixed: d.ID}, branches: written.branches},
			commits: 1, snapshots: 1, volumes: 1},
		{what: "the volumes are missing", has: holding{dots: written.dots, names: written.names, branches: written.branches, commits: written.commits, snapshots: written.snapshots}, volumes: 1},
		{what: "the snapshot is missing", has: holding{dots: written.dots, names: written.names, branches: written.branches, commits: written.commits}, snapshots: 1, volumes: 1},
		{what: "another branch of the dot has the name", has: holding{dots: written.dots, names: written.names, branches: on(ours, dot.NewBranchID(), dot.MasterBranch)},
			branches: 1, commits: 1, snapshots: 1, volumes: 1, branch: hiddenAs, notes: "two branches master"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			got := planRecovery(inv, ours, 4, time.Now(), tt.has)
			if len(got.dots) != tt.dots || len(got.branches) != tt.branches || len(got.commits) != tt.commits || len(got.snapshots) != tt.snapshots || len(got.volumes) != tt.volumes {
				t.Fatalf("got %+v", got)
			}
			for _, d := range got.dots {
				if d.FullName != tt.called || d.State != dot.Ready || d.Released != tt.released {
					t.Errorf("got dot %+v", d)
				}
			}
			for _, b := range got.branches {
				if b.Name != tt.branch || b.Master != ours || b.Epoch.Incarnation != 4 {
					t.Errorf("got branch %+v", b)
				}
			}
			notes := strings.Join(got.notes, "\n")
			if !strings.Contains(notes, tt.notes) || (notes == "") != (tt.notes == "") {
				t.Errorf("got notes %q, want %q", notes, tt.notes)
			}
		})
	}
}

// TestIncarnationAfterARecovery is above what the pool has seen, so that what is left
// out of the registry is known as such.
func TestIncarnationAfterARecovery(t *testing.T) {
	const ours, other = "ours", "other"
	for _, tt := range []struct {
		what string
		now  store.Cluster
		mark uint64 // decided on by a run that was interrupted
		seen uint64
		want uint64
	}{
		{what: "an empty registry", seen: 3, want: 4},
		{what: "one that was never used", now: store.Cluster{ID: other, Incarnation: 1}, seen: 3, want: 4},
		{what: "one of a long past", now: store.Cluster{ID: other, Incarnation: 7}, seen: 3, want: 8},
		{what: "a registry that another pool was recovered into", now: store.Cluster{ID: ours, Incarnation: 4}, seen: 3, want: 4},
		{what: "a backup from before the pool", now: store.Cluster{ID: ours, Incarnation: 3}, seen: 3, want: 4},
		{what: "the pool has seen more", now: store.Cluster{ID: ours, Incarnation: 4}, seen: 9, want: 10},
		{what: "interrupted after the pool was told", now: store.Cluster{ID: ours, Incarnation: 4}, mark: 4, seen: 4, want: 4},
	} {
		f := footing{id: ours, registry: store.Record[store.Cluster]{Value: tt.now}, incarnation: tt.mark}
		if got := f.clusterAfter(engine.Inventory{Incarnation: tt.seen}); got != (store.Cluster{ID: ours, Incarnation: tt.want}) {
			t.Errorf("%s: got %+v, want incarnation %d", tt.what, got, tt.want)
		}
	}
}

// TestPoolIsAddedInPieces while another server takes the name of a dot, publishes a
// volume that was just added, and the run is interrupted.
func TestPoolIsAddedInPieces(t *testing.T) {
	passed := func() {}
	s := hookedStore(t, func(_ context.Context, p crash.Point) {
		if p == store.PointTxnBefore {
			passed()
		}
	})
	pool := dot.PoolIDOf(7)
	var inv engine.Inventory
	for i := range 150 {
		name, err := parseDotName(fmt.Sprintf("d%d", i))
		if err != nil {
			t.Fatal(err)
		}
		d := dot.Dot{ID: dot.NewID(), FullName: name}
		b := dot.Branch{ID: dot.NewBranchID(), Dot: d.ID, Name: dot.MasterBranch}
		inv.Branches = append(inv.Branches, engine.FoundBranch{Dot: d, Branch: b, Volumes: []dot.Volume{{ID: dot.VolumeIDOf(name.String())}}})
		inv.Commits = append(inv.Commits, engine.FoundCommit{Commit: dot.Commit{ID: dot.NewCommitID(), Dot: d.ID, Branch: b.ID, CSIName: name.String(), Message: strings.Repeat("<", 8000)}})
	}
	mark := s.Txn().PutRecovery(store.Recovery{Cluster: "c", Pool: pool})
	if err := mark.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := func(ctx context.Context, mark int64) error {
		return again(ctx, func() error { return addPool(ctx, s, inv, pool, 2, mark) })
	}
	if err := run(t.Context(), mark.Revision()+1); !errors.Is(err, store.ErrConflict) {
		t.Errorf("without the mark: got %v", err)
	}

	// The name is taken after it was seen to be free; the run ends in the middle.
	taken, other := inv.Branches[100].Dot.FullName, dot.NewID()
	ctx, interrupt := context.WithCancel(t.Context())
	count := 0
	passed = func() {
		switch count++; count {
		case 1:
			if err := s.Txn().ClaimName(taken, other).Commit(t.Context()); err != nil {
				t.Error(err)
			}
		case 16:
			interrupt()
		}
	}
	if err := run(ctx, mark.Revision()); err == nil {
		t.Fatal("it was not interrupted")
	}
	passed = func() {}
	first, err := s.GetDot(t.Context(), inv.Branches[0].Dot.ID)
	if err != nil {
		t.Fatal(err)
	}
	shared := first.Value
	shared.Shares.All = true
	if err := s.Txn().Unchanged(store.DotKey(shared.ID), first.Revision).PutDot(shared).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := run(t.Context(), mark.Revision()); err != nil {
			t.Fatal(err)
		}
	}

	has, err := readHolding(t.Context(), s)
	if err != nil || len(has.dots) != 150 || len(has.branches) != 150 || len(has.volumes) != 150 || len(has.commits) != 150 || len(has.snapshots) != 150 || len(has.names) != 151 {
		t.Errorf("got %d dots, %d branches, %d volumes, %d commits, %d snapshots, %d names, %v", len(has.dots), len(has.branches), len(has.volumes), len(has.commits), len(has.snapshots), len(has.names), err)
	}
	if has.names[taken] != other || has.dots[inv.Branches[100].Dot.ID].FullName == taken {
		t.Errorf("the name is of %s, and the dot is called %s", has.names[taken], has.dots[inv.Branches[100].Dot.ID].FullName)
	}
	if !has.dots[shared.ID].Shares.All {
		t.Error("what was recorded meanwhile was overwritten")
	}
}

// TestNothingIsDecidedOnAHalfRegistry: while the registry is rebuilt, what it does not
// know is neither gone nor free.
func TestNothingIsDecidedOnAHalfRegistry(t *testing.T) {
	p := testPlane(t)
	known := add(t, p, "known", p.pool)
	unknown := dot.VolumeIDOf("unknown").String()
	snapshot := dot.SnapshotHandle{Dot: known.dot.ID, Commit: dot.NewCommitID()}.String()
	for _, rebuilding := range []bool{true, false} {
		p.rebuilding = func() bool { return rebuilding }
		_, errDelete := p.deleteVolume(t.Context(), &v1.DeleteVolumeRequest{Volume: unknown})
		_, errSnapshot := p.deleteSnapshot(t.Context(), &v1.DeleteSnapshotRequest{Handle: snapshot})
		// Where the node has no pool: nothing is to be made.
		_, errCreate := p.createVolume(t.Context(), &v1.CreateVolumeRequest{CsiName: "new", RequiredBytes: 1 << 20, PreferredNodes: []string{"nowhere"}})
		_, errDot := p.createDot(t.Context(), &v1.CreateDotRequest{Dot: map[bool]string{true: "new", false: "no dot's name"}[rebuilding]})
		for what, err := range map[string]error{"create a volume": errCreate, "delete a volume": errDelete, "delete a snapshot": errSnapshot, "create a dot": errDot} {
			refused := dot.CodeOf(err) == dot.CodeUnavailable && err != nil && strings.Contains(err.Error(), "set recover to \"false\"")
			if refused != rebuilding {
				t.Errorf("%s, rebuilding %t: got %v", what, rebuilding, err)
			}
		}
		if _, err := p.createVolume(t.Context(), &v1.CreateVolumeRequest{CsiName: known.volume.CSIName, RequiredBytes: known.volume.SizeBytes}); err != nil {
			t.Errorf("a volume that is known, rebuilding %t: %v", rebuilding, err)
		}
	}
}

// TestSnapshotNameOfAnotherCommitStays where a commit goes that was left without it.
func TestSnapshotNameOfAnotherCommitStays(t *testing.T) {
	p := testPlane(t)
	d := add(t, p, "x", p.pool)
	commit := func() dot.Commit {
		return dot.Commit{ID: dot.NewCommitID(), Dot: d.dot.ID, Branch: d.branch.ID, CSIName: "snap"}
	}
	has, lacks := commit(), commit()
	if err := p.store.Txn().PutCommit(has).PutCommit(lacks).PutSnapshot(store.Snapshot{CSIName: "snap", Dot: d.dot.ID, Commit: has.ID}).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		commit dot.Commit
		stays  bool
	}{{lacks, true}, {has, false}} {
		if _, err := p.deleteSnapshot(t.Context(), &v1.DeleteSnapshotRequest{Handle: dot.SnapshotHandle{Dot: d.dot.ID, Commit: tt.commit.ID}.String()}); err != nil {
			t.Fatal(err)
		}
		if _, stays, err := found(p.store.GetSnapshot(t.Context(), "snap")); err != nil || stays != tt.stays {
			t.Errorf("got %t, %v, want that the name is there: %t", stays, err, tt.stays)
		}
	}
}

// TestServerNoticesARebuiltRegistry when it has lost its connection meanwhile.
func TestServerNoticesARebuiltRegistry(t *testing.T) {
	p := testPlane(t)
	pool, err := p.store.GetPool(t.Context(), p.pool)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what   string
		change func(*store.Txn)
		same   bool
	}{
		{"nothing happened", func(t *store.Txn) { t.PutCluster(p.cluster) }, true},
		{"rebuilt from another pool", func(t *store.Txn) { t.Delete(store.PoolKey(p.pool)) }, false},
		{"a pool was added that has seen more", func(t *store.Txn) {
			t.PutPool(pool.Value).PutCluster(store.Cluster{ID: p.cluster.ID, Incarnation: p.cluster.Incarnation + 1})
		}, false},
		{"emptied", func(t *store.Txn) { t.Delete(store.ClusterKey()) }, false},
	} {
		txn := p.store.Txn()
		tt.change(txn)
		if err := txn.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.isSameRegistry(t.Context()); (err == nil) != tt.same || err != nil && dot.CodeOf(err) != dot.CodePrecondition {
			t.Errorf("%s: got %v", tt.what, err)
		}
	}
}

// TestRecoveryThatAnEarlierVersionBegan is ended, though that wrote no pool's record with
// its mark.
func TestRecoveryThatAnEarlierVersionBegan(t *testing.T) {
	s, pool, cluster := testStore(t), dot.PoolIDOf(7), dot.NewID().String()
	if err := s.Txn().PutRecovery(store.Recovery{Cluster: cluster, Pool: pool, Node: "a", Incarnation: 3}).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f, err := findFooting(t.Context(), s, engine.Identity{Pool: pool, Cluster: cluster}, true)
	if err != nil || !f.recover {
		t.Fatalf("got %+v, %v", f, err)
	}
	c := f.clusterAfter(engine.Inventory{})
	if err := endRecovery(t.Context(), s, f, recoveredPool(pool, "a"), c, f.mark); err != nil {
		t.Fatal(err)
	}
	rec, err := s.GetPool(t.Context(), pool)
	if want := (dot.Pool{ID: pool, Node: "a", Incarnation: 3, PromisedFence: promisedFence}); err != nil || fmt.Sprint(rec.Value) != fmt.Sprint(want) {
		t.Errorf("got %+v, %v, want %+v", rec.Value, err, want)
	}
	f, err = findFooting(t.Context(), s, engine.Identity{Pool: pool, Cluster: cluster, Incarnation: 3}, false)
	if err != nil || f.recover || f.mark != 0 {
		t.Errorf("the next start: got %+v, %v", f, err)
	}
}
