//go:build zfs && long

package engine

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// testHeadLimit writes as a pod that charges its files to no project.
func testHeadLimit(t *testing.T, r *rig) {
	d, b := r.newDot("limited")
	d.MadeByPVC = true
	volumes := []dot.Volume{claim(&d, b, "a", 4<<20), claim(&d, b, "b", 4<<20)}
	check(t, r.CreateBranch(t.Context(), BranchSpec{Dot: d, Branch: b, Volumes: volumes}))
	prepare := func(d dot.Dot, b dot.Branch, volumes []dot.Volume) {
		t.Helper()
		v := volumes[0]
		_, err := r.Prepare(t.Context(), PrepareSpec{
			Branch: b.ID, Subdot: v.Subdot, Record: d.Subdots[v.Subdot], QuotaBytes: v.SizeBytes, Head: HeadLimitOf(d, b, volumes),
		})
		check(t, err)
	}
	r.started()
	prepare(d, b, volumes)
	same(t, "processes of the first prepare", r.started(), "zfs get")
	if got := r.fill(b, "a/one"); got < 16<<20 || got > 36<<20 {
		t.Errorf("wrote %d MiB that no project counts, want about 25", got>>20)
	}

	// Larger claims make the limit larger.
	volumes[0].SizeBytes = 20 << 20
	check(t, r.SetQuotas(t.Context(), b.ID, volumes[0].Subdot, d.Subdots[volumes[0].Subdot], 20<<20, HeadLimitOf(d, b, volumes)))
	if got := r.fill(b, "a/two"); got < 8<<20 || got > 30<<20 {
		t.Errorf("wrote %d MiB more after an expansion by 16, want about 18", got>>20)
	}
	limit := r.refquota(b)

	// A head that holds more than its limit is mounted all the same.
	volumes[0].SizeBytes = 1 << 20
	r.open()
	prepare(d, b, volumes)
	if got := r.refquota(b); got < limit || got > limit+2*headRoom {
		t.Errorf("the limit of a head that holds more: got %d, want %d as before, or room that was needed more", got, limit)
	}
	ref := r.commit(b)
	check(t, r.SetQuotas(t.Context(), b.ID, volumes[1].Subdot, d.Subdots[volumes[1].Subdot], 0, HeadLimit{Known: true}))
	if got := r.refquota(b); got != 0 {
		t.Errorf("a limit that was lifted: got %d", got)
	}

	// What a restore brings along counts on top.
	_, restored := r.newDot("restored")
	restored.Dot, restored.Origin = d.ID, &dot.Origin{Branch: b.ID, Commit: ref.Commit}
	for i := range volumes {
		volumes[i].Branch, volumes[i].SizeBytes = restored.ID, 4<<20
	}
	check(t, r.CreateBranch(t.Context(), BranchSpec{Dot: d, Branch: restored, Volumes: volumes, From: &ref}))
	prepare(d, restored, volumes)
	r.started()
	prepare(d, restored, volumes)
	same(t, "processes of the second prepare", r.started())
	if got, want := r.refquota(restored), uint64(25<<20)+uint64(must(r.CommitBytes(t.Context(), ref))); got != want {
		t.Errorf("the limit of a restore: got %d, want %d", got, want)
	}
	if got := r.fill(restored, "a/three"); got < 16<<20 || got > 36<<20 {
		t.Errorf("wrote %d MiB in a restore, want about 25", got>>20)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) refquota(b dot.Branch) uint64 {
	r.t.Helper()
	values, err := r.pool.Get(r.t.Context(), must(r.Parent().Child(b.ID.String())), zfs.PropRefquota)
	check(r.t, err)
	return must(values.Uint(zfs.PropRefquota))
}

// fill writes a file of project 0 until no more is let in, and tells how much was.
func (r *rig) fill(b dot.Branch, name string) (written int) {
	r.t.Helper()
	r.mounted(b, func(dir string) {
		f, err := os.Create(filepath.Join(dir, name))
		check(r.t, err)
		defer f.Close()
		check(r.t, zfs.SetProjectID(f, 0, false))
		block := make([]byte, 1<<20)
		_, _ = rand.Read(block)
		for written < 96<<20 {
			n, err := f.Write(block)
			written += n
			if errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.ENOSPC) {
				return
			}
			check(r.t, err)
			if written%(8<<20) == 0 { // so that the limit is met soon
				check(r.t, f.Sync())
			}
		}
	})
	return written
}
