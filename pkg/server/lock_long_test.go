//go:build zfs && long

package server_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
	"github.com/dotmesh-io/dotmesh-csi/pkg/server"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// TestServersThatOverlap starts a server while its predecessor still serves, as
// when a container is replaced.
func TestServersThatOverlap(t *testing.T) {
	m := newMachine(t)
	first := m.spawn(false, "")
	m.awaitReady(first.running)
	second := m.spawn(false, "")
	for range 10 {
		if res, err := call(second.Server.GetStatus, &v1.GetStatusRequest{}); err == nil && res.Ready {
			t.Fatal("two servers serve one pool")
		}
		time.Sleep(300 * time.Millisecond)
	}
	must(t, first.Volumes.CreateVolume, pvc("late"))
	first.kill()
	m.awaitReady(second.running)
	if err := stage("late")(second.running); err != nil {
		t.Errorf("what the first server did while the second waited: %v", err)
	}
}

// TestPoolIsListedWhenTheLeaseIsHeld has another server's lease end only after the
// pool was changed.
func TestPoolIsListedWhenTheLeaseIsHeld(t *testing.T) {
	ctx := t.Context()
	m := newMachine(t)
	r := m.start(nil)
	r.stop()
	id, err := engine.Identify(ctx, m.pool.Client, m.pool.Root())
	if err != nil {
		t.Fatal(err)
	}
	m.registry(ctx)
	other, err := m.store.AcquirePoolLease(ctx, id.Pool, store.Instance{Name: "elsewhere", BootID: "another"}, 15*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	waiting := m.launch(m.config(nil))
	time.Sleep(10 * time.Second) // until it has opened the pool and waits
	if res, err := call(waiting.Server.GetStatus, &v1.GetStatusRequest{}); err == nil && res.Ready {
		t.Fatal("ready without the lease")
	}
	e, err := engine.Open(engine.Config{ZFS: m.pool.Client, Root: m.pool.Root(), Identity: id, ClusterID: id.Cluster, RunDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Load(ctx); err != nil {
		t.Fatal(err)
	}
	name, err := dot.ParseName("late")
	if err != nil {
		t.Fatal(err)
	}
	d := dot.Dot{ID: dot.NewID(), FullName: dot.FullName{Namespace: dot.DefaultNamespace, Name: name}, State: dot.Ready}
	b := dot.Branch{ID: dot.NewBranchID(), Dot: d.ID, Name: dot.MasterBranch, State: dot.Ready, Master: id.Pool, Epoch: dot.Epoch{Incarnation: 1, Number: 1}}
	if err := e.CreateBranch(ctx, engine.BranchSpec{Dot: d, Branch: b}); err != nil {
		t.Fatal(err)
	}
	other.Revoke(ctx)
	// The registry does not know the branch, so that it is refused if the branch is
	// seen at all.
	select {
	case err := <-waiting.exit:
		if dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), b.ID.String()) {
			t.Errorf("got %v, want a refusal that names branch %s", err, b.ID)
		}
	case <-time.After(2 * time.Minute):
		t.Error("the pool was listed before the lease was held")
	}
}

// TestASecondServerGrowsNothing starts one beside another that asks for a larger
// pool file: grown by it, the file would be refused by the first one's next start.
func TestASecondServerGrowsNothing(t *testing.T) {
	m := newMachine(t)
	location, err := os.MkdirTemp("/var/lib/dotmesh", "second-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(location) })
	name, err := zfs.ParsePoolName(filepath.Base(location))
	if err != nil {
		t.Fatal(err)
	}
	config := func(size int64) server.Config {
		cfg := m.config(nil)
		cfg.Pool = server.PoolConfig{Name: name.String(), Location: location, SizeBytes: size}
		return cfg
	}
	t.Cleanup(func() {
		if err := pool.Export(context.Background(), pool.Config{ZFS: m.pool.Client, Name: name, Location: location, SizeBytes: gib}); err != nil {
			t.Error(err)
		}
	})
	m.startWith(config(pool.MinSize))
	second := m.launch(config(gib))
	m.eventually("the second server does not tell what it waits for", func() string {
		res, err := call(second.Server.GetStatus, &v1.GetStatusRequest{})
		if text := fmt.Sprint(res, err); !strings.Contains(text, "another dotmesh server") {
			return text
		}
		return ""
	})
	info, err := os.Stat(filepath.Join(location, name.String()+".pool"))
	if err != nil || info.Size() != pool.MinSize {
		t.Errorf("got %v, %v, want %d bytes", info.Size(), err, int64(pool.MinSize))
	}
}

// TestCommandThatOutlivesItsServer kills a server that has begun a snapshot which
// is taken only after the next server has started. That one has to wait for it:
// listed before, the pool would say that the commit was never taken, and then hold
// a snapshot that nobody knows.
func TestCommandThatOutlivesItsServer(t *testing.T) {
	m := newMachine(t)
	slow := newSlowPrograms(t)
	first := m.spawn(false, "")
	m.awaitReady(first.running)
	v := must(t, first.Volumes.CreateVolume, pvc("db")).Volume
	want := &v1.CreateSnapshotRequest{CsiName: "snapshot-late", Volume: v.Id}
	slow.hold(t)
	go func() { _, _ = call(first.Volumes.CreateSnapshot, want) }()
	slow.awaitOne(t)
	first.kill()
	second := m.spawn(false, "")
	for range 10 {
		if res, err := call(second.Server.GetStatus, &v1.GetStatusRequest{}); err == nil && res.Ready {
			t.Fatal("ready while a command of the server before it runs")
		}
		time.Sleep(300 * time.Millisecond)
	}
	slow.release(t)
	m.awaitReady(second.running)
	made := must(t, second.Volumes.CreateSnapshot, want).Snapshot
	out, err := exec.Command("zfs", "list", "-H", "-r", "-t", "snapshot", "-o", "name", m.pool.Root().String()).Output()
	if names := strings.Fields(string(out)); err != nil || len(names) != 1 || !strings.HasSuffix(made.Handle, strings.Split(names[0], "@")[1]) {
		t.Errorf("snapshots %q, %v; want the one of %s", out, err, made.Handle)
	}
	second.kill()
	third := m.spawn(false, "")
	m.awaitReady(third.running)
}

// slowPrograms can make each `zfs program` of servers to come wait before it begins.
type slowPrograms struct{ held, begun string }

// newSlowPrograms puts a zfs in the PATH that is the real one but for that.
func newSlowPrograms(t *testing.T) slowPrograms {
	t.Helper()
	program, err := exec.LookPath("zfs")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := slowPrograms{held: filepath.Join(dir, "held"), begun: filepath.Join(dir, "begun")}
	const script = `#!/bin/sh
if [ "$1" = program ] && [ -e %[1]s ]; then
	: >%[2]s
	while [ -e %[1]s ]; do sleep 0.1; done
fi
exec %[3]s "$@"
`
	if err := os.WriteFile(filepath.Join(dir, "zfs"), fmt.Appendf(nil, script, s.held, s.begun, program), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Cleanup(func() { _ = os.Remove(s.held) }) // nothing waits for ever
	return s
}

func (s slowPrograms) hold(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(s.held, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s slowPrograms) release(t *testing.T) {
	t.Helper()
	if err := os.Remove(s.held); err != nil {
		t.Fatal(err)
	}
}

// awaitOne waits until a program waits.
func (s slowPrograms) awaitOne(t *testing.T) {
	t.Helper()
	for range 600 {
		if _, err := os.Stat(s.begun); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("no zfs program was started")
}
