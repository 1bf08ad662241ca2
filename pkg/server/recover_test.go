package server

import (
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
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
	got := planRecovery(inv, pool, 4, time.Now())

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
		got := planRecovery(engine.Inventory{Branches: c.branches}, dot.PoolIDOf(7), 2, time.Now())
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
