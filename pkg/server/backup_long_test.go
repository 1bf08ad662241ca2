//go:build zfs && long

package server_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/embedded"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// TestRegistryFromABackupIsRefused puts etcd back to where it was before a volume
// and a commit were made. A pod writes on meanwhile; --recover knows all of it, and
// then no older backup is believed either.
func TestRegistryFromABackupIsRefused(t *testing.T) {
	m := newMachine(t)
	r := m.start(nil)
	must(t, r.Dots.CreateDot, &v1.CreateDotRequest{Dot: "old"})
	r.stop()
	before := m.backUp()

	// Only a commit is newer.
	r = m.start(nil)
	must(t, r.Dots.Commit, &v1.CommitRequest{Dot: "old", Message: "newer"})
	r.stop()
	withCommit := m.backUp()
	m.restore(before)
	m.refuses(m.config(nil), "does not know commit")

	// A volume is newer too, and a pod writes to it.
	m.restore(withCommit)
	r = m.start(nil)
	must(t, r.Volumes.CreateVolume, pvc("new"))
	pod, _ := mounted(t, r, "new")
	write(t, pod, "before")
	readOnly := pvc("never-written")
	readOnly.SourceSnapshot, readOnly.ReadOnly = must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s", Volume: volumeID("new")}).Snapshot.Handle, true
	must(t, r.Volumes.CreateVolume, readOnly)
	r.stop()
	latest := m.backUp()
	m.restore(withCommit)
	again := m.config(nil)
	m.refuses(again, "does not know branch")
	again.Recover = true
	m.refuses(again, "empty it and start with --recover")
	write(t, pod, "while the registry is away")

	// As a server left it that took the head for nobody's.
	head := m.headOf(t, "new")
	if err := m.pool.SetReadonly(t.Context(), head, true); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(pod, "refused"), nil, 0o600); err == nil {
		t.Error("the head is not read-only")
	}
	m.loseRegistry()
	r = m.startWith(again)
	write(t, pod, "after the recovery")
	must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s2", Volume: volumeID("new")})
	if log := must(t, r.Dots.ListCommits, &v1.ListCommitsRequest{Dot: "old"}).Commits; len(log) != 1 || log[0].Message != "newer" {
		t.Errorf("the commits: got %v", log)
	}
	values, err := m.pool.Get(t.Context(), m.headOf(t, "never-written"), zfs.PropReadonly)
	if got, _ := values.Local(zfs.PropReadonly); err != nil || got != "on" {
		t.Errorf("readonly of a volume that is never written: got %q, %v", got, err)
	}
	r.stop()
	m.hasSeen(t, "2")

	// All that is on the pool is known, but of another incarnation.
	m.restore(latest)
	m.refuses(m.config(nil), "has seen incarnation 2")
	m.loseRegistry()
	m.startWith(again).stop()
	m.hasSeen(t, "3")
}

// TestBackupToWhichAPoolWasAddedIsRefused: a pool that joined after the backup is added
// to it, which raises its incarnation. The other pool's server must not take what it has
// made since for left out.
func TestBackupToWhichAPoolWasAddedIsRefused(t *testing.T) {
	a := newMachine(t)
	b := a.beside()
	ra := a.start(nil)
	must(t, ra.Dots.CreateDot, &v1.CreateDotRequest{Dot: "old"})
	ra.stop()
	before := a.backUp()
	ra, rb := a.start(nil), b.startWith(b.configOf(nodeB, ""))
	podA, podB := usedOn(t, ra, "a", node), usedOn(t, rb, "b", nodeB)
	ra.stop()
	rb.stop()

	a.restore(before)
	b.startWith(b.configOf(nodeB, "true")).stop()
	b.hasSeen(t, "2")
	was := a.properties(t)
	for range 2 {
		a.refuses(a.configOf(node, ""), "does not know branch")
	}
	if now := a.properties(t); now != was {
		t.Errorf("the starts that were refused have changed\n%s\nto\n%s", was, now)
	}
	write(t, podA, "while the registry is of before")

	// As the refusal says.
	a.loseRegistry()
	ra, rb = a.startWith(a.configOf(node, "true")), b.startWith(b.configOf(nodeB, "true"))
	bothServe(t, ra, rb, "recovered")
	rb.stop()
	ra.stop()
	ra, rb = a.start(nil), b.startWith(b.configOf(nodeB, ""))
	bothServe(t, ra, rb, "started")
	write(t, podA, "to the end")
	write(t, podB, "to the end")
}

// TestRegistryPutBackUnderAServer restores etcd, with the server's lease in it,
// without stopping the server: it must not let anything be deleted by what the
// registry does not say any more.
func TestRegistryPutBackUnderAServer(t *testing.T) {
	for what, later := range map[string]bool{"as it was": false, "with a later revision": true} {
		t.Run(what, func(t *testing.T) { registryPutBack(t, later) })
	}
}

func registryPutBack(t *testing.T, later bool) {
	m := newMachine(t)
	r := m.start(nil)
	must(t, r.Volumes.CreateVolume, part("a", ""))
	before := m.backUp()
	if later {
		m.raiseRevision(before)
	}
	m.eventually("the server does not go on", func() string {
		return errorText(onlyError(call(r.Volumes.CreateVolume, part("b", "b"))))
	})
	m.restore(before)
	// The dot would go with what is its only claim now.
	if _, err := call(r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("a")}); err == nil {
		t.Error("a volume was deleted by a registry that went back")
	}
	select {
	case err := <-r.exit:
		if dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), "older than the pool") {
			t.Errorf("the server ended with %v, want that the registry is older than the pool", err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the server goes on with a registry that went back")
	}
	m.refuses(m.config(nil), "does not know volume")
}

// TestCommitThatWasRecordedAfterTheBackup restores etcd, under a running server, to
// when a snapshot was taken and not recorded yet.
func TestCommitThatWasRecordedAfterTheBackup(t *testing.T) {
	m := newMachine(t)
	taken, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r := m.start(func(_ context.Context, p crash.Point) {
		if p == zfs.AfterSnapshot {
			once.Do(func() { close(taken); <-goOn })
		}
	})
	must(t, r.Volumes.CreateVolume, pvc("v"))
	snapshot := &v1.CreateSnapshotRequest{CsiName: "s", Volume: volumeID("v")}
	first := make(chan error, 1)
	go func() { first <- onlyError(call(r.Volumes.CreateSnapshot, snapshot)) }()
	select {
	case <-taken:
	case err := <-first:
		close(goOn)
		t.Fatalf("no snapshot was taken: %v", err)
	}
	before := m.backUp()
	close(goOn)
	<-first // etcd was away meanwhile: the snapshotter comes again
	restored := pvc("restored")
	m.eventually("the snapshot is not made", func() string {
		res, err := call(r.Volumes.CreateSnapshot, snapshot)
		if err == nil {
			restored.SourceSnapshot = res.Snapshot.Handle
		}
		return errorText(err)
	})
	m.restore(before)
	m.eventually("the commit is not recorded again", func() string {
		lines, _ := m.registry(t.Context())
		if slices.Contains(lines, `snapshot "s"`) && !slices.Contains(lines, `intent "s"`) {
			return ""
		}
		return strings.Join(lines, "\n")
	})
	m.eventually("the volume cannot be deleted", func() string {
		return errorText(onlyError(call(r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("v")})))
	})
	m.settled()
	must(t, r.Volumes.CreateVolume, restored)
	select {
	case err := <-r.exit:
		t.Errorf("the server ended: %v", err)
	default:
	}
}

// raiseRevision writes to a backup, as etcdutl does with --bump-revision.
func (m *machine) raiseRevision(backup string) {
	m.t.Helper()
	dir := shortTempDir(m.t)
	m.copyEtcd(dir, backup)
	ctx := m.t.Context()
	etcd, err := embedded.Start(ctx, embedded.Config{Dir: dir, UnsafeNoFsync: true})
	if err != nil {
		m.t.Fatal(err)
	}
	s, err := store.Open(ctx, store.Config{Endpoints: []string{etcd.Endpoint()}})
	if err != nil {
		m.t.Fatal(err)
	}
	for range 200 {
		if err := s.Txn().PutPool(dot.Pool{ID: dot.PoolIDOf(1)}).Commit(ctx); err != nil {
			m.t.Fatal(err)
		}
	}
	s.Close()
	etcd.Close()
	if err := os.RemoveAll(backup); err != nil {
		m.t.Fatal(err)
	}
	m.copyEtcd(backup, dir)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// hasSeen reads the incarnation that the root tells of.
func (m *machine) hasSeen(t *testing.T, want string) {
	t.Helper()
	const incarnation zfs.Property = "io.dotmesh:incarnation"
	values, err := m.pool.Get(t.Context(), m.pool.Root(), incarnation)
	if got, _ := values.Local(incarnation); err != nil || got != want {
		t.Errorf("the pool has seen incarnation %q, %v, want %s", got, err, want)
	}
}

// backUp copies etcd's data while it is stopped.
func (m *machine) backUp() string {
	m.t.Helper()
	m.stopEtcd()
	to := filepath.Join(m.top.TempDir(), "etcd")
	m.copyEtcd(to, m.etcdDir)
	m.startEtcd()
	return to
}

// restore puts a backup in the place of what etcd holds.
func (m *machine) restore(from string) {
	m.t.Helper()
	m.stopEtcd()
	if err := os.RemoveAll(m.etcdDir); err != nil {
		m.t.Fatal(err)
	}
	m.copyEtcd(m.etcdDir, from)
	m.startEtcd()
}

func (m *machine) copyEtcd(to, from string) {
	m.t.Helper()
	_ = os.Remove(filepath.Join(from, "etcd.sock")) // no file that can be copied
	if err := errors.Join(os.CopyFS(to, os.DirFS(from)), os.Chmod(to, 0o700)); err != nil {
		m.t.Fatal(err)
	}
}
