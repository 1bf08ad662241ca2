//go:build zfs

package engine

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

func testLifeOfABranch(t *testing.T, r *rig) {
	r.started()
	d, b := r.create("life", nil)
	same(t, "processes of a new dot", r.started(), "zfs create")
	m := r.prepare(d, b, "__default__", 32<<20)
	if m.GUID == 0 || m.Directory != "__default__" {
		t.Errorf("got %+v", m)
	}
	// The quota was given at creation; the GUID must be asked for once.
	same(t, "processes of the first prepare", r.started(), "zfs get")
	r.prepare(d, b, "__default__", 32<<20)
	same(t, "processes of the second prepare", r.started())

	r.write(b, "__default__/file", "old")
	ref := r.commit(b)
	same(t, "processes of a commit", r.started(), "zfs program")
	r.write(b, "__default__/file", "new")

	_, restored := r.create("restored", &ref)
	same(t, "processes of a restore", r.started(), "zfs clone")
	if got := r.read(restored, "__default__/file"); got != "old" {
		t.Errorf("restored: got %q, want old", got)
	}
	if got := r.read(b, "__default__/file"); got != "new" {
		t.Errorf("source: got %q, want new", got)
	}

	inv, err := r.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(inv.Branches) != 2 || len(inv.Commits) != 1 || len(inv.Unknown) != 0 || !inv.Fenced {
		t.Errorf("got %+v", inv)
	}
	if got := inv.Branches[0].Dot; got.FullName != d.FullName || got.Subdots[dot.DefaultSubdot] != d.Subdots[dot.DefaultSubdot] {
		t.Errorf("dot: got %+v, want %+v", got, d)
	}
	if got := inv.Commits[0]; got.Commit.Message != "a\nmessage" {
		t.Errorf("commit: got %+v", got)
	}

	// The source goes while its clone lives.
	if err := r.DestroyCommit(t.Context(), ref); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	if err := r.DestroyBranch(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	same(t, "after the source is gone", r.names(), restored.ID.String())
	if got := r.read(restored, "__default__/file"); got != "old" {
		t.Errorf("restored, without its source: got %q, want old", got)
	}
	for range 2 {
		if err := r.DestroyBranch(t.Context(), restored.ID); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "at the end", r.names())
}

func testIdempotence(t *testing.T, r *rig) {
	d, b := r.newDot("again")
	spec := BranchSpec{Dot: d, Branch: b}
	for range 2 {
		if err := r.CreateBranch(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	c := dot.Commit{ID: dot.NewCommitID(), Dot: d.ID, Branch: b.ID}
	first, err := r.Commit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	// A crash forgot the index's entries before Open reads them.
	for range 2 {
		delete(r.index.branches, b.ID)
		delete(r.index.commits, commitKey{b.ID, c.ID})
		if err := r.CreateBranch(t.Context(), spec); err != nil {
			t.Errorf("creating again: %v", err)
		}
		if got, err := r.Commit(t.Context(), c); err != nil || got != first {
			t.Errorf("committing again: got %v, %v, want %v", got, err, first)
		}
		r.open()
	}
	other := spec
	other.Branch.Dot = dot.NewID()
	if err := r.CreateBranch(t.Context(), other); dot.CodeOf(err) != dot.CodeExists {
		t.Errorf("another dot's branch: got %v", err)
	}
	if err := r.DestroyCommit(t.Context(), CommitRef{Branch: b.ID, Commit: dot.NewCommitID()}); err != nil {
		t.Errorf("a commit that is not there: %v", err)
	}
	if err := r.SetUpRoot(t.Context()); err != nil {
		t.Errorf("setting up again: %v", err)
	}
	if _, err := Open(r.config("other")); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("another cluster's root: got %v", err)
	}
	// A power cut between a dataset and its properties.
	_, bare := r.newDot("bare")
	dataset := must(r.Parent().Child(bare.ID.String()))
	if err := r.pool.CreateFilesystem(t.Context(), dataset, nil); err != nil {
		t.Fatal(err)
	}
	d, _ = r.newDot("bare")
	d.ID = bare.Dot
	if err := r.CreateBranch(t.Context(), BranchSpec{Dot: d, Branch: bare}); err != nil {
		t.Fatal(err)
	}
	if inv, err := r.Inventory(t.Context()); err != nil || len(inv.Branches) != 2 || len(inv.Unknown) != 0 {
		t.Errorf("got %+v, %v", inv, err)
	}
}

func testDestroyOfAnOriginWithManyDependents(t *testing.T, r *rig) {
	_, origin := r.create("origin", nil)
	var refs []CommitRef
	var clones []dot.Branch
	for n := range 3 {
		r.write(origin, "n", fmt.Sprint(n))
		ref := r.commit(origin)
		refs = append(refs, ref)
		_, clone := r.create(fmt.Sprint("clone", n), &ref)
		clones = append(clones, clone)
	}
	own := r.commit(clones[1])
	_, grandchild := r.create("grandchild", &own)
	r.commit(origin) // newer than any clone
	if err := r.DestroyBranch(t.Context(), origin.ID); err != nil {
		t.Fatal(err)
	}
	if r.HasBranch(origin.ID) {
		t.Error("still there")
	}
	for n, clone := range clones {
		if got := r.read(clone, "n"); got != fmt.Sprint(n) {
			t.Errorf("clone %d: got %q", n, got)
		}
	}
	// The index and a fresh look agree about where commits lie.
	for range 2 {
		if _, err := r.FindCommit(own); err != nil {
			t.Error(err)
		}
		if _, err := r.FindCommit(refs[0]); err != nil {
			t.Errorf("a commit that clones still need: %v", err)
		}
		r.open()
	}
	inv, err := r.Inventory(t.Context())
	if err != nil || len(inv.Unknown) != 0 || len(inv.Branches) != 4 {
		t.Errorf("got %+v, %v", inv, err)
	}
	for _, c := range inv.Commits {
		if c.Deleted != (c.Commit.Branch == origin.ID) {
			t.Errorf("got %+v", c)
		}
	}
	// A commit of a promoted branch can still be cloned.
	_, late := r.create("late", &own)
	for _, b := range []dot.Branch{clones[2], clones[1], clones[0], late, grandchild} {
		if err := r.DestroyBranch(t.Context(), b.ID); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "at the end", r.names())
}

// testSweep: a snapshot that was left because of its clone goes after a restart, if
// a crash came between the two.
func testSweep(t *testing.T, r *rig) {
	_, source := r.create("source", nil)
	ref := r.commit(source)
	_, clone := r.create("clone", &ref)
	sweep := func(when string, names, processes []string) {
		t.Helper()
		r.open()
		r.started()
		if err := r.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		started := r.started()
		slices.Sort(started)
		same(t, when, started, processes...)
		same(t, when, r.names(), names...)
	}
	snapshot := source.ID.String() + "@" + ref.Commit.String()
	all := []string{source.ID.String(), snapshot, clone.ID.String()}
	sweep("with nothing deleted", all, nil)
	if err := r.DestroyCommit(t.Context(), ref); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	sweep("while the clone lives", all, []string{"zfs get"})
	if err := r.pool.Destroy(t.Context(), must(r.Parent().Child(clone.ID.String()))); err != nil {
		t.Fatal(err)
	}
	sweep("after a crash that followed the clone's destruction", []string{source.ID.String()}, []string{"zfs destroy", "zfs get"})
	sweep("again", []string{source.ID.String()}, nil)
}

func testBusyIsNamed(t *testing.T, r *rig) {
	_, b := r.create("busy", nil)
	r.mounted(b, func(string) {
		err := r.DestroyBranch(t.Context(), b.ID)
		if dot.CodeOf(err) != dot.CodeAborted || !strings.Contains(err.Error(), "process") {
			t.Errorf("got %v, want CodeAborted with a process", err)
		}
		if err := r.CheckReset(b.ID); dot.CodeOf(err) != dot.CodePrecondition {
			t.Errorf("reset: got %v, want CodePrecondition", err)
		}
	})
	if err := r.DestroyBranch(t.Context(), b.ID); err != nil {
		t.Error(err)
	}
}

func testReset(t *testing.T, r *rig) {
	d, old := r.create("reset", nil)
	r.write(old, "n", "1")
	ref := r.commit(old)
	r.write(old, "n", "2")
	_, replacement := r.newDot("reset")
	replacement.Dot = d.ID
	if err := r.Reset(t.Context(), old.ID, BranchSpec{Dot: d, Branch: replacement, From: &ref}); err != nil {
		t.Fatal(err)
	}
	if err := r.Retire(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if got := r.read(replacement, "n"); got != "1" {
		t.Errorf("got %q, want 1", got)
	}
	if got := r.read(old, "n"); got != "2" {
		t.Errorf("the old head: got %q, want 2", got)
	}
	inv, err := r.Inventory(t.Context())
	if err != nil || len(inv.Branches) != 2 || !inv.Branches[0].Branch.Hidden || !inv.Branches[0].ReadOnly {
		t.Errorf("got %+v, %v", inv.Branches, err)
	}
}

func testRootVolume(t *testing.T, r *rig) {
	d, b := r.newDot("root")
	v := claim(&d, b, "__root__", 24<<20)
	if err := r.CreateBranch(t.Context(), BranchSpec{Dot: d, Branch: b, Volumes: []dot.Volume{v}}); err != nil {
		t.Fatal(err)
	}
	if m := r.prepare(d, b, "__root__", 24<<20); m.Directory != "" {
		t.Errorf("got %+v", m)
	}
	r.mounted(b, func(dir string) {
		if err := fill(filepath.Join(dir, "fill"), 40<<20); !errors.Is(err, unix.EDQUOT) {
			t.Errorf("got %v, want EDQUOT", err)
		}
	})
	r.commit(b) // a full head can be committed
	usage, err := r.Usage(t.Context(), b.ID)
	if err != nil || usage[b.ID].ReferencedBytes < 16<<20 {
		t.Errorf("usage: got %+v, %v", usage, err)
	}
	if usage, err = r.Usage(t.Context()); err != nil || len(usage) != 1 {
		t.Errorf("usage of all: got %+v, %v", usage, err)
	}
	health, err := r.Health(t.Context(), 30*time.Second)
	if err != nil || health.State != zfs.HealthOnline || !health.Writes || health.SizeBytes == 0 || health.Problem != "" {
		t.Errorf("health: got %+v, %v", health, err)
	}
	if total, free, err := r.Capacity(t.Context()); err != nil || free <= 0 || total < free {
		t.Errorf("capacity: got %d, %d, %v", total, free, err)
	}
}
