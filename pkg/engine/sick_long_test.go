//go:build zfs && long

package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/loop"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/zfstest"
)

// thinDisk is a sparse pool file on a file system that runs full long before it.
type thinDisk struct {
	t    *testing.T
	dir  string
	pool *zfstest.Pool
}

func newThinDisk(t *testing.T, size, room int64) thinDisk {
	t.Helper()
	d := thinDisk{t: t, dir: t.TempDir()}
	check(t, unix.Mount("tmpfs", d.dir, "tmpfs", 0, fmt.Sprintf("size=%d", room)))
	t.Cleanup(func() { check(t, unix.Unmount(d.dir, 0)) })
	file, err := os.Create(filepath.Join(d.dir, "pool.img"))
	check(t, err)
	defer file.Close()
	check(t, file.Truncate(size))
	device, err := loop.Attach(t.Context(), file)
	check(t, err)
	t.Cleanup(func() { check(t, device.Detach(context.WithoutCancel(t.Context()))) })
	d.pool = &zfstest.Pool{Client: zfstest.Client(t, zfs.Config{}), Name: zfstest.Name(t), Device: device, File: file.Name()}
	zfstest.CleanUp(t, d.pool.Name)
	t.Cleanup(func() { d.heal(4 * size) }) // a pool that is suspended cannot be destroyed
	check(t, d.pool.CreatePool(t.Context(), zfs.PoolSpec{Name: d.pool.Name, Devices: []string{device.Path}, Props: zfs.Props{"ashift": "12"}}))
	return d
}

// heal does what an admin does.
func (d thinDisk) heal(room int64) {
	d.t.Helper()
	check(d.t, unix.Mount("tmpfs", d.dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", room)))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.t.Context()), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "zpool", "clear", d.pool.Name.String()).CombinedOutput(); err != nil {
		d.t.Errorf("zpool clear: %v: %s", err, out)
	}
}

// TestPoolThatCannotWrite: the disk of a pool takes no more. Who writes waits and
// loses nothing; what is asked for fails in time and can be asked for again.
func TestPoolThatCannotWrite(t *testing.T) {
	const size, room, written = 512 << 20, 48 << 20, 64 << 20
	disk := newThinDisk(t, size, room)
	r := newRig(t, disk.pool, "sick")
	_, b := r.create("writes", nil)
	first := r.commit(b)

	wrote := make(chan error, 1)
	r.mounted(b, func(dir string) {
		check(t, os.WriteFile(filepath.Join(dir, "before"), []byte("kept"), 0o600))
		check(t, r.pool.Sync(t.Context(), r.pool.Name))
		go func() { wrote <- writeRandom(filepath.Join(dir, "much"), written) }()
		r.stopsWriting(t)

		const patience = 5 * time.Second
		commit := dot.Commit{ID: dot.NewCommitID(), Dot: b.Dot, Branch: b.ID, Sequence: 2}
		other, branch := r.newDot("other")
		spec := BranchSpec{Dot: other, Branch: branch, Volumes: []dot.Volume{claim(&other, branch, "__default__", 1<<20)}}
		calls := map[string]func(context.Context) error{
			"Commit":       func(ctx context.Context) error { _, err := r.Commit(ctx, commit); return err },
			"CreateBranch": func(ctx context.Context) error { return r.CreateBranch(ctx, spec) },
		}
		for name, call := range calls {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			begin := time.Now()
			err := call(ctx)
			cancel()
			if code := dot.CodeOf(err); code != dot.CodeUnavailable && code != dot.CodeDeadline {
				t.Errorf("%s on a pool that cannot write: got %v, want CodeUnavailable or CodeDeadline", name, err)
			}
			if took := time.Since(begin); took > 6*patience {
				t.Errorf("%s on a pool that cannot write took %v to fail, with %v to do it", name, took, patience)
			}
		}
		select {
		case err := <-wrote:
			t.Fatalf("the writer was told %v by a pool that cannot write", err)
		default:
		}

		disk.heal(2 * size)
		check(t, <-wrote)
		for name, call := range calls {
			if err := call(t.Context()); err != nil {
				t.Errorf("%s, again, after the disk has room: %v", name, err)
			}
		}
	})
	if h, err := r.Health(t.Context(), time.Minute); err != nil || !h.Writes || h.State != zfs.HealthOnline || h.Problem != "" {
		t.Errorf("after the disk has room: got %+v, %v", h, err)
	}
	r.open()
	if got := r.read(b, "before"); got != "kept" {
		t.Errorf("what was written before: got %q", got)
	}
	if err := r.DestroyCommit(t.Context(), first); err != nil {
		t.Error(err)
	}
}

// stopsWriting waits until the pool's health tells it.
func (r *rig) stopsWriting(t *testing.T) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < 3*time.Minute; time.Sleep(time.Second) {
		h, err := r.Health(t.Context(), 5*time.Second)
		if err == nil && !h.Writes {
			if h.State != zfs.HealthSuspended || h.Problem == "" {
				t.Errorf("a pool that cannot write: got %+v", h)
			}
			return
		}
	}
	t.Fatal("the health of a pool whose disk is full never told it")
}

// writeRandom writes a file of a size and has it on stable storage.
func writeRandom(path string, size int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for range size / len(block) {
		_, _ = rand.Read(block)
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return f.Sync()
}

// TestFullPool: writers are told that there is no room; what they wrote stays, and
// destroying a branch makes room again.
func TestFullPool(t *testing.T) {
	const size, freed = 256 << 20, 32 << 20
	r := newRig(t, zfstest.New(t, size, zfs.Config{}), "full")
	_, victim := r.create("victim", nil)
	d, b := r.create("greedy", nil)
	r.write(b, "before", "kept")
	r.mounted(victim, func(dir string) { check(t, writeRandom(filepath.Join(dir, "f"), freed)) })
	fill := func(name string, size int) (err error) {
		r.mounted(b, func(dir string) { err = writeRandom(filepath.Join(dir, name), size) })
		return err
	}
	if err := fill("fill", size); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("writing as much as the pool's size: got %v, want ENOSPC", err)
	}
	// What needs little room is done or refused as what it is.
	ref := CommitRef{Branch: b.ID, Commit: dot.NewCommitID()}
	_, err := r.Commit(t.Context(), dot.Commit{ID: ref.Commit, Dot: d.ID, Branch: b.ID, Sequence: 1})
	if err != nil && dot.CodeOf(err) != dot.CodeExhausted {
		t.Errorf("a commit on a full pool: got %v, want none or CodeExhausted", err)
	}
	other, branch := r.newDot("other")
	err = r.CreateBranch(t.Context(), BranchSpec{Dot: other, Branch: branch})
	if err != nil && dot.CodeOf(err) != dot.CodeExhausted {
		t.Errorf("a new dot on a full pool: got %v, want none or CodeExhausted", err)
	}
	if h, err := r.Health(t.Context(), time.Minute); err != nil || !h.Writes {
		t.Errorf("a full pool: got %+v, %v; it takes transaction groups still", h, err)
	}

	check(t, r.DestroyBranch(t.Context(), victim.ID))
	check(t, r.pool.Sync(t.Context(), r.pool.Name))
	if err := fill("more", freed/4); err != nil {
		t.Errorf("writing after a branch was destroyed: %v", err)
	}
	if got := r.read(b, "before"); got != "kept" {
		t.Errorf("what was written before: got %q", got)
	}
}
