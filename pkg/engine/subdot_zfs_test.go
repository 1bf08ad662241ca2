//go:build zfs

package engine

import (
	"crypto/rand"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

func testSubdotQuota(t *testing.T, r *rig) {
	d, b := r.newDot("quota")
	small, large := claim(&d, b, "small", 16<<20), claim(&d, b, "large", 64<<20)
	if err := r.CreateBranch(t.Context(), BranchSpec{Dot: d, Branch: b, Volumes: []dot.Volume{small}}); err != nil {
		t.Fatal(err)
	}
	if err := r.SetVolume(t.Context(), large, b.ID, d.Subdots[large.Subdot]); err != nil {
		t.Fatal(err)
	}
	r.prepare(d, b, "small", small.SizeBytes)
	r.prepare(d, b, "large", large.SizeBytes)
	r.mounted(b, func(dir string) {
		for _, v := range []dot.Volume{small, large} {
			var st unix.Statfs_t
			if err := unix.Statfs(filepath.Join(dir, v.Subdot.String()), &st); err != nil {
				t.Fatal(err)
			}
			if got := int64(st.Blocks) * st.Bsize; got != v.SizeBytes {
				t.Errorf("%s: df shows %d, want %d", v.Subdot, got, v.SizeBytes)
			}
			info, err := os.Stat(filepath.Join(dir, v.Subdot.String()))
			if err != nil || info.Mode().Perm() != subdotMode {
				t.Errorf("%s: mode %v, %v", v.Subdot, info.Mode(), err)
			}
		}
		// A project is charged when a txg is synced, so that a short burst may pass.
		if err := fill(filepath.Join(dir, "small", "fill"), 20<<20); err != nil && !errors.Is(err, unix.EDQUOT) {
			t.Errorf("filling: %v", err)
		}
		if err := r.pool.Sync(t.Context(), r.pool.Name); err != nil {
			t.Fatal(err)
		}
		err := fill(filepath.Join(dir, "small", "past"), 20<<20)
		if !errors.Is(err, unix.EDQUOT) {
			t.Errorf("past the quota: got %v, want EDQUOT", err)
		}
		if err := fill(filepath.Join(dir, "large", "fill"), 40<<20); err != nil {
			t.Errorf("the neighbour: %v", err)
		}
	})
	// Growing, also while mounted; a restored quota and a commit over it.
	r.mounted(b, func(dir string) {
		r.prepare(d, b, "small", 96<<20)
		if err := fill(filepath.Join(dir, "small", "more"), 20<<20); err != nil {
			t.Errorf("after growing: %v", err)
		}
	})
	r.commit(b)
	if err := r.RemoveVolume(t.Context(), b.ID, small.ID); err != nil {
		t.Fatal(err)
	}
	r.mounted(b, func(dir string) {
		sub := t.TempDir()
		if err := unix.Mount(filepath.Join(dir, "small"), sub, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		if err := r.RemoveSubdot(t.Context(), b.ID, small.Subdot, d.Subdots[small.Subdot]); dot.CodeOf(err) != dot.CodeAborted {
			t.Errorf("removing a published subdot: got %v", err)
		}
		if err := unix.Unmount(sub, 0); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := r.RemoveSubdot(t.Context(), b.ID, small.Subdot, d.Subdots[small.Subdot]); err != nil {
				t.Error(err)
			}
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 || entries[0].Name() != "large" {
			t.Errorf("left: %v, %v", entries, err)
		}
	})
	inv, err := r.Inventory(t.Context())
	if err != nil || len(inv.Branches[0].Volumes) != 1 || len(inv.Branches[0].Dot.Subdots) != 1 {
		t.Errorf("got %+v, %v", inv.Branches, err)
	}
}

// fill writes what ZFS cannot compress away.
func fill(path string, bytes int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for range bytes / len(block) {
		_, _ = rand.Read(block)
		if _, err := f.Write(block); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return nil
}

func testSubdotAttacks(t *testing.T, r *rig) {
	d, b := r.create("attacked", nil)
	r.prepare(d, b, "__default__", 32<<20)
	outside := t.TempDir()
	kept := filepath.Join(outside, "kept")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	attacks := map[string]func(path string) error{
		"link":   func(p string) error { return os.Symlink(outside, p) },
		"device": func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) },
		"file":   func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"pipe":   func(p string) error { return unix.Mkfifo(p, 0o600) },
	}
	for name, attack := range attacks {
		claim(&d, b, name, 0)
		r.mounted(b, func(dir string) {
			if err := attack(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		})
		s := must(dot.ParseSubdot(name))
		spec := PrepareSpec{Branch: b.ID, Subdot: s, Record: d.Subdots[s]}
		if _, err := r.Prepare(t.Context(), spec); dot.CodeOf(err) != dot.CodePrecondition {
			t.Errorf("%s: got %v, want CodePrecondition", name, err)
		}
		if err := r.RemoveSubdot(t.Context(), b.ID, s, d.Subdots[s]); err != nil {
			t.Errorf("removing %s: %v", name, err)
		}
	}
	if info, err := os.Stat(outside); err != nil || info.Mode().Perm() == subdotMode {
		t.Errorf("a directory outside was changed: %v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("a file outside is gone: %v", err)
	}
	// A directory with content that was never a subdot, and links in it.
	claim(&d, b, "adopted", 0)
	r.mounted(b, func(dir string) {
		deep := filepath.Join(dir, "adopted", "x", "y")
		if err := os.MkdirAll(deep, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{
			os.WriteFile(filepath.Join(deep, "file"), make([]byte, 1<<20), 0o600),
			os.Symlink(outside, filepath.Join(deep, "out")), unix.Mkfifo(filepath.Join(deep, "pipe"), 0o600),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	r.prepare(d, b, "adopted", 8<<20)
	want := d.Subdots[must(dot.ParseSubdot("adopted"))].ProjectID
	r.mounted(b, func(dir string) {
		for _, path := range []string{"adopted", "adopted/x/y", "adopted/x/y/file"} {
			f, err := os.Open(filepath.Join(dir, path))
			if err != nil {
				t.Fatal(err)
			}
			if got, _, err := zfs.ProjectID(f); err != nil || got != want {
				t.Errorf("%s: got project %d, %v, want %d", path, got, err, want)
			}
			f.Close()
		}
		if info, err := os.Stat(filepath.Join(dir, "adopted")); err != nil || info.Mode().Perm() != 0o700 && info.Mode().Perm() != 0o755 {
			t.Errorf("the mode of an adopted directory was changed: %v, %v", info.Mode(), err)
		}
	})
	r.removeSubdot(d, b, "adopted")
	r.has(b, "adopted/x/y/file", true)
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("a file outside is gone: %v", err)
	}
}

func testReadOnlyRestore(t *testing.T, r *rig) {
	d, b := r.create("source", nil)
	r.prepare(d, b, "__default__", 32<<20)
	r.write(b, "__default__/f", "x")
	ref := r.commit(b)
	rd, rb := r.newDot("readonly")
	rb.ReadOnly = true
	v := claim(&rd, rb, "__default__", 64<<20)
	if err := r.CreateBranch(t.Context(), BranchSpec{Dot: rd, Branch: rb, Volumes: []dot.Volume{v}, From: &ref}); err != nil {
		t.Fatal(err)
	}
	m := r.prepare(rd, rb, "__default__", 64<<20)
	if !m.ReadOnly {
		t.Errorf("got %+v", m)
	}
	rec := rd.AssignSubdot(must(dot.ParseSubdot("missing")), true)
	if _, err := r.Prepare(t.Context(), PrepareSpec{Branch: rb.ID, Subdot: must(dot.ParseSubdot("missing")), Record: rec, ReadOnly: true}); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("a subdot that the commit lacks: got %v", err)
	}
	r.mounted(rb, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "w"), nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("writing: got %v, want EROFS", err)
		}
		var st unix.Statfs_t
		if err := unix.Statfs(filepath.Join(dir, "__default__"), &st); err != nil || int64(st.Blocks)*st.Bsize != 64<<20 {
			t.Errorf("df shows %d, %v", int64(st.Blocks)*st.Bsize, err)
		}
	})
}

func (r *rig) removeSubdot(d dot.Dot, b dot.Branch, name string) {
	r.t.Helper()
	s := must(dot.ParseSubdot(name))
	if err := r.RemoveSubdot(r.t.Context(), b.ID, s, d.Subdots[s]); err != nil {
		r.t.Errorf("removing %s: %v", name, err)
	}
}

// has checks whether a branch's head has a file.
func (r *rig) has(b dot.Branch, path string, want bool) {
	r.t.Helper()
	r.mounted(b, func(dir string) {
		if _, err := os.Stat(filepath.Join(dir, path)); (err == nil) != want {
			r.t.Errorf("%s: got %v, want that it is there: %t", path, err, want)
		}
	})
}

// testMadeForAClaim: only a directory that was made for a claim on that subdot of
// that dot is removed.
func testMadeForAClaim(t *testing.T, r *rig) {
	d, b := r.create("made", nil)
	for _, name := range []string{"made", "moved"} {
		claim(&d, b, name, 0)
		r.prepare(d, b, name, 0)
		r.write(b, name+"/file", "x")
	}
	claim(&d, b, "other", 0)
	byHand := must(dot.ParseSubdot("byhand"))
	d.AssignSubdot(byHand, false)
	r.prepare(d, b, "byhand", 0)
	r.write(b, "byhand/file", "x")
	r.mounted(b, func(dir string) {
		if err := os.Rename(filepath.Join(dir, "moved"), filepath.Join(dir, "other")); err != nil {
			t.Error(err)
		}
	})
	r.prepare(d, b, "other", 0)
	if err := r.SetDot(t.Context(), b.ID, d); err != nil {
		t.Fatal(err)
	}
	ref := r.commit(b)

	copied, cb := r.newDot("copy")
	copied.Subdots = maps.Clone(d.Subdots)
	v := claim(&copied, cb, "made", 0)
	if err := r.CreateBranch(t.Context(), BranchSpec{Dot: copied, Branch: cb, Volumes: []dot.Volume{v}, From: &ref}); err != nil {
		t.Fatal(err)
	}
	r.prepare(copied, cb, "made", 0)
	r.removeSubdot(copied, cb, "made")
	r.has(cb, "made/file", true)

	for name, goes := range map[string]bool{"made": true, "other": false, "byhand": false} {
		r.removeSubdot(d, b, name)
		r.has(b, name+"/file", !goes)
	}
	inv, err := r.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range inv.Branches {
		if f.Branch.ID != b.ID {
			continue
		}
		if _, left := f.Dot.Subdots[must(dot.ParseSubdot("made"))]; left {
			t.Error("the record of what was removed is left")
		}
		if _, left := f.Dot.Subdots[byHand]; !left {
			t.Error("the record of a directory that stays is gone")
		}
	}
}
