package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// TestRegistryIsComparedWithThePool tells a registry from a backup from what crashes
// and recoveries leave.
func TestRegistryIsComparedWithThePool(t *testing.T) {
	p := testPlane(t)
	p.cluster.Incarnation = 2
	compareAt(t, p, 2)
	epoch := func(incarnation, number uint64) dot.Epoch { return dot.Epoch{Incarnation: incarnation, Number: number} }
	known := add(t, p, "known", p.pool)
	known.branch.Epoch = epoch(2, 3)
	commit := func(name string, at dot.Epoch) dot.Commit {
		id, err := dot.ParseCommitID(name)
		if err != nil {
			t.Fatal(err)
		}
		return dot.Commit{ID: id, Dot: known.dot.ID, Branch: known.branch.ID, Epoch: at, Sequence: 1}
	}
	recorded, begun := commit("recorded", epoch(2, 3)), commit("begun", epoch(2, 3))
	begun.CSIName = "snapshot-begun"
	err := p.store.Txn().PutBranch(known.branch).PutCommit(recorded).PutIntent(store.Intent{Epoch: begun.Epoch, Commit: begun}).Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stranger := dot.Branch{ID: dot.NewBranchID(), Dot: known.dot.ID, Name: dot.MasterBranch}
	head := func(b dot.Branch, at dot.Epoch) engine.FoundBranch {
		b.Epoch = at
		return engine.FoundBranch{Dot: known.dot, Branch: b}
	}
	joined := dot.Volume{ID: dot.VolumeIDOf("joined")}
	claimed := func(b dot.Branch, v dot.Volume) engine.FoundBranch {
		f := head(b, b.Epoch)
		f.Volumes = []dot.Volume{v}
		return f
	}
	going := add(t, p, "going", p.pool)
	going.dot.State = dot.Deleting
	old := dot.Branch{ID: dot.NewBranchID(), Dot: known.dot.ID, State: dot.Ready, Epoch: epoch(2, 1), Hidden: true}
	if old.Name, err = hiddenName(dot.MasterBranch, old.ID); err != nil {
		t.Fatal(err)
	}
	if err := p.store.Txn().PutDot(going.dot).PutBranch(old).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	elsewhere := commit("of-a-branch-that-is-gone", epoch(2, 3))
	elsewhere.Branch = stranger.ID
	for _, c := range []struct {
		what    string
		seen    uint64
		branch  engine.FoundBranch
		commit  dot.Commit
		deleted bool
		refused string
	}{
		{what: "as it should be", seen: 2, commit: recorded},
		{what: "a pool from before it kept the incarnation", commit: recorded},
		{what: "a dataset from before a recovery", branch: head(known.branch, epoch(1, 9))},
		{what: "a commit that a crash left with its intent", commit: begun},
		{what: "a commit of an epoch that passed", commit: commit("late", epoch(2, 2))},
		{what: "a commit that a recovery left out", commit: commit("older", epoch(1, 7))},
		{what: "a commit that clones need", commit: commit("gone", epoch(2, 3)), deleted: true},
		{what: "a clone's base", commit: commit("clone-1", dot.Epoch{})},
		{what: "a commit whose branch is gone", commit: elsewhere},
		{what: "a claim that is recorded", branch: claimed(known.branch, known.volume)},
		{what: "a claim on a dot that goes", branch: claimed(going.branch, joined)},
		{what: "a claim on a head out of sight", branch: claimed(old, joined)},
		{what: "a branch that a recovery left out", branch: head(stranger, epoch(1, 1))},

		{what: "the pool has seen more", seen: 3, refused: "has seen incarnation 3"},
		{what: "a branch has seen more", branch: head(known.branch, epoch(3, 1)), refused: "has seen incarnation 3"},
		{what: "a branch that was made since", branch: head(stranger, epoch(2, 1)), refused: "does not know branch master"},
		{what: "a branch that was put out of sight since", branch: head(known.branch, epoch(2, 4)), refused: "in the registry at 2.3"},
		{what: "a claim that was made since", branch: claimed(known.branch, joined), refused: "does not know volume"},
		{what: "a commit that was made since", commit: commit("newer", epoch(2, 3)), refused: "does not know commit"},
	} {
		inv := engine.Inventory{Incarnation: c.seen}
		// Nothing is gone.
		inv.Branches = append(inv.Branches, head(known.branch, known.branch.Epoch), head(going.branch, going.branch.Epoch))
		if !c.branch.Branch.ID.IsZero() {
			inv.Branches = append(inv.Branches, c.branch)
		}
		if !c.commit.ID.IsZero() {
			inv.Commits = append(inv.Commits, engine.FoundCommit{Commit: c.commit, Deleted: c.deleted})
		}
		registry, err := p.readRegistered(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = registry.vet(inv)
		switch {
		case c.refused == "" && err != nil:
			t.Errorf("%s: refused: %v", c.what, err)
		case c.refused != "" && (dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "--recover")):
			t.Errorf("%s: got %v, want a refusal with %q", c.what, err, c.refused)
		}
	}
}

// compareAt has the registry tell that it was last compared with the pool at an
// incarnation.
func compareAt(t *testing.T, p *plane, incarnation uint64) {
	t.Helper()
	rec, err := p.store.GetPool(t.Context(), p.pool)
	if err != nil {
		t.Fatal(err)
	}
	rec.Value.Incarnation = incarnation
	if err := p.store.Txn().PutPool(rec.Value).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestWhatARecoveryCanHaveLeftOut is about a registry whose incarnation another pool has
// raised, so that only the pool's own record tells what is from before its recovery.
func TestWhatARecoveryCanHaveLeftOut(t *testing.T) {
	for _, c := range []struct {
		what     string
		compared uint64
		registry uint64
		seen     uint64
		stranger uint64 // incarnation of a branch that the registry does not know
		refused  string
	}{
		{"its own recovery has left it out", 2, 2, 2, 1, ""},
		{"and another pool was added since", 2, 3, 2, 1, ""},
		{"a second recovery has left it out", 4, 4, 4, 2, ""},
		{"the record was written and the pool not", 2, 2, 1, 1, ""},
		{"a backup", 1, 1, 1, 1, "does not know branch"},
		{"a backup to which another pool was added", 1, 2, 1, 1, "does not know branch"},
		{"a backup to which many were added", 1, 9, 1, 1, "does not know branch"},
		{"a branch of after the next recovery", 1, 4, 1, 2, "does not know branch"},
		{"the pool was recovered since the backup", 1, 4, 3, 0, "has last seen the pool at 1"},
	} {
		registry := registered{incarnation: c.registry, compared: c.compared}
		inv := engine.Inventory{Incarnation: c.seen}
		if c.stranger > 0 {
			b := dot.Branch{ID: dot.NewBranchID(), Name: dot.MasterBranch, Epoch: dot.Epoch{Incarnation: c.stranger, Number: 1}}
			inv.Branches = []engine.FoundBranch{{Branch: b}}
		}
		err := registry.vet(inv)
		if c.refused == "" && err != nil || c.refused != "" && (dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: got %v, want a refusal with %q", c.what, err, c.refused)
		}
	}
}

// TestBackupThatARecoveryRaisedIsRefused at every start, and unchanged. One that knows
// the pool is compared from then on at the incarnation that it has.
func TestBackupThatARecoveryRaisedIsRefused(t *testing.T) {
	before := testPlane(t)
	if err := before.store.Txn().PutCluster(store.Cluster{ID: before.cluster.ID, Incarnation: 2}).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	listed := func(dataset string, properties map[string]string) string {
		lines := ""
		for property, value := range properties {
			lines += dataset + "\t" + property + "\t" + value + "\tlocal\n"
		}
		return lines
	}
	root := listed("pool", map[string]string{"type": "filesystem", "guid": "7", "createtxg": "1", "io.dotmesh:incarnation": "1"})
	branch := dot.NewBranchID().String()
	newer := listed("pool/dotmesh/"+branch, map[string]string{
		"type": "filesystem", "guid": "5", "createtxg": "5", "io.dotmesh:dot": dot.NewID().String(), "io.dotmesh:namespace": "admin", "io.dotmesh:name": "newer",
		"io.dotmesh:branch": branch, "io.dotmesh:branch-name": "master", "io.dotmesh:epoch": "1.1", "io.dotmesh:master": before.pool.String(),
	})
	compared := func() uint64 {
		rec, err := before.store.GetPool(t.Context(), before.pool)
		if err != nil {
			t.Fatal(err)
		}
		return rec.Value.Incarnation
	}
	for _, c := range []struct {
		what, holds string
		refused     string
		compared    uint64
	}{
		{"the first start", root + newer, "does not know branch", 1},
		{"the second start", root + newer, "does not know branch", 1},
		// The pool that lists here cannot be written: the record comes first.
		{"a pool of which nothing is missing", root, "incarnation", 2},
	} {
		p := planeOn(t, before.store)
		listedPool(t, p, c.holds, "")
		if err := p.takeStock(t.Context(), p.lease.held, false); err == nil || !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: got %v, want an error with %q", c.what, err, c.refused)
		}
		if got := compared(); got != c.compared {
			t.Errorf("%s: compared at %d, want %d", c.what, got, c.compared)
		}
	}
}

func TestRegistryThatNamesWhatIsGoneIsRefused(t *testing.T) {
	ours, theirs := dot.PoolIDOf(7), dot.PoolIDOf(8)
	id, stays, goes := dot.NewBranchID(), dot.NewID(), dot.NewID()
	dataset, err := zfs.ParseDataset("pool/dotmesh/" + id.String())
	if err != nil {
		t.Fatal(err)
	}
	ready := dot.Branch{ID: id, Dot: stays, Name: dot.MasterBranch, Master: ours, State: dot.Ready}
	but := func(change func(*dot.Branch)) dot.Branch {
		b := ready
		change(&b)
		return b
	}
	for _, c := range []struct {
		what    string
		record  dot.Branch
		inv     engine.Inventory
		refused bool
	}{
		{"it is there", ready, engine.Inventory{Branches: []engine.FoundBranch{{Branch: ready}}}, false},
		{"it is being received", ready, engine.Inventory{Receiving: []engine.Receiving{{Dataset: dataset}}}, false},
		{"it cannot be read", ready, engine.Inventory{Unknown: []engine.Unknown{{Name: dataset.String()}}}, false},
		{"another pool's", but(func(b *dot.Branch) { b.Master = theirs }), engine.Inventory{}, false},
		{"one out of sight", but(func(b *dot.Branch) { b.Hidden = true }), engine.Inventory{}, false},
		{"one that is made just now", but(func(b *dot.Branch) { b.State = dot.Creating }), engine.Inventory{}, false},
		{"one of a dot that goes", but(func(b *dot.Branch) { b.Dot = goes }), engine.Inventory{}, false},
		{"it was deleted since", ready, engine.Inventory{}, true},
		{"only a snapshot cannot be read", ready, engine.Inventory{Unknown: []engine.Unknown{{Name: dataset.String() + "@x"}}}, true},
	} {
		known := registered{pool: ours, branches: map[dot.BranchID]dot.Branch{id: c.record}, stays: map[dot.ID]bool{stays: true}}
		err := known.vet(c.inv)
		if c.refused != (dot.CodeOf(err) == dot.CodePrecondition && strings.Contains(err.Error(), id.String())) || !c.refused && err != nil {
			t.Errorf("%s: got %v", c.what, err)
		}
	}
}

// listedPool gives the plane a pool that lists what it is told and changes nothing.
func listedPool(t *testing.T, p *plane, datasets, snapshots string) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "zfs")
	script := "#!/bin/sh\ncase \"$*\" in get*snapshot*) cat " + dir + "/snapshots;; get*) cat " + dir + "/datasets;; *) exit 1;; esac\n"
	client, err1 := zfs.New(zfs.Config{ZFS: program, Zpool: program})
	root, err2 := zfs.ParseDataset("pool")
	err := errors.Join(
		err1, err2,
		os.WriteFile(filepath.Join(dir, "datasets"), []byte(datasets), 0o600),
		os.WriteFile(filepath.Join(dir, "snapshots"), []byte(snapshots), 0o600),
		os.WriteFile(program, []byte(script), 0o700),
	)
	if err != nil {
		t.Fatal(err)
	}
	p.engine, err = engine.Open(engine.Config{ZFS: client, Root: root, Identity: engine.Identity{Pool: p.pool}, ClusterID: p.cluster.ID, RunDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.engine.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestRegistryThatWasPutBackIsSettled compares again with a registry from before a
// commit was recorded and a volume was ready.
func TestRegistryThatWasPutBackIsSettled(t *testing.T) {
	p := testPlane(t)
	c, half := add(t, p, "old", p.pool), add(t, p, "half", dot.PoolIDOf(8))
	half.volume.State = dot.Creating
	intent := func(name string) dot.Commit {
		made := dot.Commit{ID: dot.NewCommitID(), Dot: c.dot.ID, Branch: c.branch.ID, CSIName: name, Volume: c.volume.ID, Sequence: 1}
		if err := p.store.Txn().PutIntent(store.Intent{Epoch: c.branch.Epoch, Commit: made}).Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		return made
	}
	taken, busy := intent("taken"), intent("busy")
	intent("begun")
	if err := p.store.Txn().PutVolume(half.volume).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	dataset := "pool/dotmesh/" + c.branch.ID.String()
	line := func(name, property, value string) string { return name + "\t" + property + "\t" + value + "\tlocal\n" }
	snapshot := func(of dot.Commit, guid string) string {
		name := dataset + "@" + of.ID.String()
		stored := fmt.Sprintf(`{"dot":%q,"branch":%q,"epoch":%q,"sequence":1}`, of.Dot, of.Branch, c.branch.Epoch)
		return line(name, "type", "snapshot") + line(name, "guid", guid) + line(name, "createtxg", guid) + line(name, "io.dotmesh:commit", stored)
	}
	listedPool(t, p, line(dataset, "type", "filesystem")+line(dataset, "guid", "5")+line(dataset, "createtxg", "5"), snapshot(taken, "6")+snapshot(busy, "7"))
	unlock, err := p.locks.lock(t.Context(), snapshotLock("busy"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	p.memory.keep(remembered{volume: store.Record[dot.Volume]{Value: c.volume}})
	lease := p.lease.held
	p.lease.serve(nil)

	if err := p.takeStock(t.Context(), lease, true); err != nil {
		t.Fatal(err)
	}
	if made, err := p.store.GetCommit(t.Context(), c.dot.ID, taken.ID); err != nil || made.Value.GUID != 6 {
		t.Errorf("the commit that was taken: got %v, %v", made.Value, err)
	}
	for name, want := range map[string]bool{"taken": false, "busy": true, "begun": true} {
		if _, there, err := found(p.store.GetIntent(t.Context(), name)); err != nil || there != want {
			t.Errorf("the intent of the commit %q is there: %t, %v", name, there, err)
		}
	}
	if p.work.length() != 1 {
		t.Errorf("%d jobs, want that of the volume that is being made", p.work.length())
	}
	if _, ok := p.memory.recall(c.volume.ID); ok {
		t.Error("what was read of the volume before is remembered")
	}
	if _, err := p.lease.current(); err == nil {
		t.Error("calls are served before the comparison has ended")
	}
}

func TestWhichClaimsAreStray(t *testing.T) {
	ours, theirs := dot.PoolIDOf(7), dot.PoolIDOf(8)
	here, there := dot.NewBranchID(), dot.NewBranchID()
	own, moved, gone := dot.VolumeIDOf("own"), dot.VolumeIDOf("moved"), dot.VolumeIDOf("gone")
	known := registered{volumes: map[dot.VolumeID]dot.BranchID{own: here, moved: there}}
	found := engine.FoundBranch{Branch: dot.Branch{ID: here}, Volumes: []dot.Volume{{ID: own}, {ID: moved}, {ID: gone}}}
	for what, c := range map[string]struct {
		record dot.Branch
		want   []dot.VolumeID
	}{
		"a head":                    {dot.Branch{ID: here, Master: ours, State: dot.Ready}, []dot.VolumeID{moved}},
		"one that nobody knows":     {dot.Branch{ID: there}, nil},
		"the new head of a reset":   {dot.Branch{ID: here, Master: ours, State: dot.Creating, Hidden: true}, nil},
		"another pool's":            {dot.Branch{ID: here, Master: theirs, State: dot.Ready}, nil},
		"one that is made just now": {dot.Branch{ID: here, Master: ours, State: dot.Creating}, nil},
	} {
		known.branches = map[dot.BranchID]dot.Branch{c.record.ID: c.record}
		if got := known.strayClaims(found, ours); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", what, got, c.want)
		}
	}
}

func TestWhichHeadsAreMadeWritableAgain(t *testing.T) {
	ours, theirs := dot.PoolIDOf(7), dot.PoolIDOf(8)
	id := dot.NewBranchID()
	for _, c := range []struct {
		what   string
		record dot.Branch
		onPool dot.Branch
		on     bool // readonly
		want   bool
	}{
		{"a head that was kept", dot.Branch{ID: id, Master: ours}, dot.Branch{ID: id}, true, true},
		{"a head that is writable", dot.Branch{ID: id, Master: ours}, dot.Branch{ID: id}, false, false},
		{"another pool's", dot.Branch{ID: id, Master: theirs}, dot.Branch{ID: id}, true, false},
		{"one out of sight", dot.Branch{ID: id, Master: ours, Hidden: true}, dot.Branch{ID: id}, true, false},
		{"one that is never written", dot.Branch{ID: id, Master: ours, ReadOnly: true}, dot.Branch{ID: id, ReadOnly: true}, true, false},
		{"one that nobody knows", dot.Branch{ID: dot.NewBranchID(), Master: ours}, dot.Branch{ID: id}, true, false},
	} {
		known := registered{branches: map[dot.BranchID]dot.Branch{c.record.ID: c.record}}
		if got := known.isHeld(engine.FoundBranch{Branch: c.onPool, ReadOnly: c.on}, ours); got != c.want {
			t.Errorf("%s: got %t, want %t", c.what, got, c.want)
		}
	}
}

// TestComparisonIsNotedOfOnesOwnPool: another server may have the pool by then.
func TestComparisonIsNotedOfOnesOwnPool(t *testing.T) {
	p := testPlane(t)
	before := p.cluster.Incarnation
	note := func() uint64 {
		t.Helper()
		p.cluster.Incarnation++
		noted := p.noteCompared(t.Context(), p.lease.held)
		rec, err := p.store.GetPool(t.Context(), p.pool)
		if err != nil || (noted == nil) != (rec.Value.Incarnation == p.cluster.Incarnation) {
			t.Errorf("got %+v, %v, %v", rec.Value, noted, err)
		}
		return rec.Value.Incarnation
	}
	if got := note(); got != before+1 {
		t.Errorf("with the lease: got %d, want %d", got, before+1)
	}
	p.lease.held.Revoke(t.Context())
	if got := note(); got != before+1 {
		t.Errorf("without the lease: got %d, want %d", got, before+1)
	}
}
