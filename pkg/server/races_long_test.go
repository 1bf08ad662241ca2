//go:build zfs && long

package server_test

import (
	"context"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// interlude lets a test do something at a crash point: once armed, the next call
// that passes the point runs what was given, and goes on after it.
type interlude struct {
	mu    sync.Mutex
	at    crash.Point
	after int
	play  func()
}

func (i *interlude) arm(at crash.Point, play func()) { i.armAfter(0, at, play) }

// armAfter is arm, and lets the point pass some times first.
func (i *interlude) armAfter(times int, at crash.Point, play func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.at, i.after, i.play = at, times, play
}

func (i *interlude) pass(_ context.Context, p crash.Point) {
	i.mu.Lock()
	var play func()
	switch {
	case i.play == nil || p != i.at:
	case i.after > 0:
		i.after--
	default:
		play, i.play = i.play, nil
	}
	i.mu.Unlock()
	if play != nil {
		play()
	}
}

// TestACommitThatAResetOvertakes: the commit's snapshot was taken of a head that
// is replaced before the commit is recorded.
func TestACommitThatAResetOvertakes(t *testing.T) {
	m := newMachine(t)
	var i interlude
	r := m.start(i.pass)
	must(t, r.Volumes.CreateVolume, pvc("a"))
	for _, c := range []struct {
		what   string
		commit func() error
	}{
		{"dm", func() error {
			_, err := call(r.Dots.Commit, &v1.CommitRequest{Dot: "a", Message: "late dm"})
			return err
		}},
		{"CSI", func() error {
			_, err := call(r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "late", Volume: volumeID("a"), Message: "late CSI"})
			return err
		}},
	} {
		first := must(t, r.Dots.Commit, &v1.CommitRequest{Dot: "a", Message: "before " + c.what}).Commit
		i.arm(zfs.AfterSnapshot, func() {
			if _, err := call(r.Dots.ResetBranch, &v1.ResetBranchRequest{Dot: "a", Branch: "master", Commit: first.Id}); err != nil {
				t.Errorf("%s: the reset: %v", c.what, err)
			}
		})
		if err := c.commit(); dot.CodeOf(err) != dot.CodeAborted || err == nil {
			t.Errorf("%s: got %v, want CodeAborted", c.what, err)
		}
		state := m.settled()
		if strings.Contains(state, "late "+c.what) || strings.Contains(state, "intent") {
			t.Errorf("%s: the commit that was refused left something:\n%s", c.what, state)
		}
		if n := snapshotsIn(state); n != strings.Count(state, "\ncommit ") {
			t.Errorf("%s: %d snapshots:\n%s", c.what, n, state)
		}
		if err := c.commit(); err != nil {
			t.Errorf("%s: the retry: %v", c.what, err)
		}
		log := must(t, r.Dots.ListCommits, &v1.ListCommitsRequest{Dot: "a"}).Commits
		if n := len(log); n < 2 || log[n-1].Message != "late "+c.what || log[n-2].Id != first.Id {
			t.Errorf("%s: got the history %v", c.what, log)
		}
	}
}

// snapshotsIn counts the snapshots that the datasets of a machine's state have.
func snapshotsIn(state string) int {
	total := 0
	for _, n := range regexp.MustCompile(`snapshots=(\d+)`).FindAllStringSubmatch(state, -1) {
		count, _ := strconv.Atoi(n[1])
		total += count
	}
	return total
}

// TestAVolumeThatJoinsDuringAReset is on the new head afterwards.
func TestAVolumeThatJoinsDuringAReset(t *testing.T) {
	m := newMachine(t)
	var i interlude
	r := m.start(i.pass)
	must(t, r.Volumes.CreateVolume, pvc("a"))
	first := must(t, r.Dots.Commit, &v1.CommitRequest{Dot: "a", Message: "m"}).Commit
	joining := pvc("b")
	joining.DotName, joining.Subdot = "a", "b"
	joined := make(chan error, 1)
	i.arm(zfs.AfterClone, func() {
		go func() {
			_, err := call(r.Volumes.CreateVolume, joining)
			joined <- err
		}()
		for range 300 { // until the join is recorded
			if _, err := call(r.Volumes.GetVolume, &v1.GetVolumeRequest{Volume: volumeID("b")}); err == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Error("the join was not recorded")
	})
	must(t, r.Dots.ResetBranch, &v1.ResetBranchRequest{Dot: "a", Branch: "master", Commit: first.Id})
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	must(t, r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: volumeID("b"), Node: node})
	prepared := must(t, r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: volumeID("b"), Node: node})
	head, err := zfs.ParseDataset(prepared.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	values, err := m.pool.Get(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	if _, told := values.Local(zfs.Property("io.dotmesh:volume." + volumeID("b"))); !told {
		t.Error("the new head does not tell of the volume, so that --recover would lose it")
	}
}

// TestAResetThatFailsLeavesNothing: the registry goes away before the swap.
func TestAResetThatFailsLeavesNothing(t *testing.T) {
	m := newMachine(t)
	var i interlude
	r := m.start(i.pass)
	must(t, r.Volumes.CreateVolume, pvc("a"))
	first := must(t, r.Dots.Commit, &v1.CommitRequest{Dot: "a", Message: "m"}).Commit
	before := m.settled()
	i.arm(zfs.AfterClone, m.stopEtcd)
	if _, err := call(r.Dots.ResetBranch, &v1.ResetBranchRequest{Dot: "a", Branch: "master", Commit: first.Id}); dot.CodeOf(err) != dot.CodeUnavailable || err == nil {
		t.Errorf("got %v, want CodeUnavailable", err)
	}
	m.startEtcd()
	m.eventually("the new head was left", func() string {
		if got := m.state(); got != before {
			return "got\n" + got + "\nwant\n" + before
		}
		return ""
	})
	must(t, r.Dots.ResetBranch, &v1.ResetBranchRequest{Dot: "a", Branch: "master", Commit: first.Id})
}

// TestARecoveryThatIsInterrupted is gone on with, also where the registry had an
// identity before.
func TestARecoveryThatIsInterrupted(t *testing.T) {
	m := newMachine(t)
	r := m.start(nil)
	must(t, r.Volumes.CreateVolume, pvc("a"))
	must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s", Volume: volumeID("a")})
	want := m.settled()
	r.stop()
	m.stopEtcd()
	if err := os.RemoveAll(m.etcdDir); err != nil {
		t.Fatal(err)
	}
	m.startEtcd()
	m.withStore(func(st *store.Store) error {
		_, err := st.EnsureCluster(t.Context())
		return err
	})

	// It ends when the mark and the records are written, and the identity is not.
	var i interlude
	half, cancel := make(chan struct{}), make(chan struct{})
	i.armAfter(2, store.PointTxnBefore, func() { close(half); <-cancel })
	cfg := m.config(i.pass)
	cfg.Recover = true
	r = m.launch(cfg)
	select {
	case <-half:
	case err := <-r.exit:
		t.Fatal(err)
	}
	go func() { time.Sleep(time.Second); close(cancel) }()
	r.stop()

	r = m.launch(m.config(nil))
	select {
	case err := <-r.exit:
		if dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), "was interrupted: start with --recover") {
			t.Errorf("a start as usual: got %v", err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("a start as usual was accepted")
	}
	cfg = m.config(nil)
	cfg.Recover = true
	m.startWith(cfg)
	m.eventually("recovered state", func() string {
		if got := m.state(); got != want {
			return "got\n" + got + "\nwant\n" + want
		}
		return ""
	})
	m.withStore(func(st *store.Store) error {
		_, err := st.GetRecovery(t.Context())
		if dot.CodeOf(err) != dot.CodeNotFound || err == nil {
			t.Errorf("the mark is left: %v", err)
		}
		return nil
	})
}

func (m *machine) withStore(use func(*store.Store) error) {
	m.t.Helper()
	st, err := store.Open(m.t.Context(), store.Config{Endpoints: []string{m.etcd.Endpoint()}})
	if err != nil {
		m.t.Fatal(err)
	}
	defer st.Close()
	if err := use(st); err != nil {
		m.t.Fatal(err)
	}
}
