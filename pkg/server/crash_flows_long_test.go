//go:build zfs && long

package server_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// crashFlow is something that a server can die in the middle of. run is what a
// caller repeats until it succeeds; setup is done undisturbed.
type crashFlow struct {
	name  string
	setup func(t *testing.T, x *matrix)
	run   func(r *running) error
	// points, if set, is what the names of the flow's points have in common;
	// otherwise all but the lease's belong to it, which come when they like.
	points string
}

// crashStart is a start of a server that can die in the middle. before is done
// before each start, check after the start that succeeds.
type crashStart struct {
	name    string
	recover bool
	setup   func(t *testing.T, x *matrix)
	before  func(x *matrix)
	check   func(t *testing.T, x *matrix)
}

// steps runs calls one after another until one fails.
func steps(calls ...func() error) error {
	for _, c := range calls {
		if err := c(); err != nil {
			return err
		}
	}
	return nil
}

func none(*testing.T, *matrix) {}

func create(t *testing.T, x *matrix) { must(t, x.live.Volumes.CreateVolume, pvc("a")) }

func snapshot(t *testing.T, x *matrix) {
	create(t, x)
	must(t, x.live.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s", Volume: volumeID("a")})
}

// handle is that of the only snapshot, "" for none.
func handle(r *running) (string, error) {
	res, err := call(r.Volumes.ListSnapshots, &v1.ListSnapshotsRequest{})
	if err != nil || len(res.Snapshots) == 0 {
		return "", err
	}
	return res.Snapshots[0].Handle, nil
}

func restored(r *running, name string) error {
	h, err := handle(r)
	if err != nil {
		return err
	}
	req := pvc(name)
	req.SourceSnapshot = h
	return onlyError(call(r.Volumes.CreateVolume, req))
}

func snapshotIt(r *running) error {
	return onlyError(call(r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s", Volume: volumeID("a"), Message: "m"}))
}

func deleteIt(name string) func(r *running) error {
	return func(r *running) error {
		return onlyError(call(r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID(name)}))
	}
}

func deleteSnapshot(r *running) error {
	h, err := handle(r)
	if err != nil || h == "" {
		return err
	}
	return onlyError(call(r.Volumes.DeleteSnapshot, &v1.DeleteSnapshotRequest{Handle: h}))
}

// stage attaches a volume and prepares it.
func stage(name string) func(r *running) error {
	return func(r *running) error {
		return steps(func() error {
			return onlyError(call(r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: volumeID(name), Node: node}))
		}, func() error {
			return onlyError(call(r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: volumeID(name), Node: node}))
		})
	}
}

// filled makes a volume's subdot with files in it, as a pod does.
func filled(t *testing.T, x *matrix, name string, files ...string) {
	t.Helper()
	r := x.live
	must(t, r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: volumeID(name), Node: node})
	path, unmount := mount(t, must(t, r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: volumeID(name), Node: node}))
	for _, f := range files {
		at := filepath.Join(path, f)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unmount()
	must(t, r.Volumes.UnpublishVolume, &v1.UnpublishVolumeRequest{Volume: volumeID(name), Node: node})
}

func crashFlows() []crashFlow {
	return []crashFlow{
		{name: "create", setup: none, run: func(r *running) error { return onlyError(call(r.Volumes.CreateVolume, pvc("a"))) }},
		{name: "join", setup: func(t *testing.T, x *matrix) {
			must(t, x.live.Volumes.CreateVolume, part("a", ""))
		}, run: func(r *running) error { return onlyError(call(r.Volumes.CreateVolume, part("b", "b"))) }},
		{name: "commit", setup: create, run: snapshotIt},
		{name: "commit after an import", setup: func(t *testing.T, x *matrix) {
			create(t, x)
			x.kill()
			x.forgetMounts(t)
			x.revive()
		}, run: snapshotIt},
		{name: "restore", setup: snapshot, run: func(r *running) error { return restored(r, "b") }},
		{name: "clone", setup: create, run: func(r *running) error {
			req := pvc("b")
			req.SourceVolume = volumeID("a")
			return onlyError(call(r.Volumes.CreateVolume, req))
		}},
		{name: "attach and stage", setup: create, run: stage("a")},
		{name: "stage a directory that was there", setup: func(t *testing.T, x *matrix) {
			must(t, x.live.Volumes.CreateVolume, part("a", "__root__"))
			filled(t, x, "a", "sub/one", "sub/deep/two")
			small := part("b", "sub")
			small.RequiredBytes = 32 << 20
			must(t, x.live.Volumes.CreateVolume, small)
		}, run: stage("b")},
		{name: "expand", setup: create, run: func(r *running) error {
			return steps(func() error {
				return onlyError(call(r.Volumes.ExpandVolume, &v1.ExpandVolumeRequest{Volume: volumeID("a"), RequiredBytes: 128 << 20}))
			}, func() error {
				return onlyError(call(r.node.ResizeVolume, &v1.ResizeVolumeRequest{Volume: volumeID("a")}))
			})
		}},
		{name: "detach", setup: func(t *testing.T, x *matrix) {
			create(t, x)
			must(t, x.live.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: volumeID("a"), Node: node})
		}, run: func(r *running) error {
			return onlyError(call(r.Volumes.UnpublishVolume, &v1.UnpublishVolumeRequest{Volume: volumeID("a"), Node: node}))
		}},
		{name: "delete", setup: create, run: deleteIt("a")},
		{name: "delete one of two claims", setup: func(t *testing.T, x *matrix) {
			must(t, x.live.Volumes.CreateVolume, part("a", ""))
			must(t, x.live.Volumes.CreateVolume, part("b", "b"))
			filled(t, x, "b", "one", "deep/two")
		}, run: deleteIt("b")},
		{name: "delete under a snapshot", setup: snapshot, run: deleteIt("a")},
		{name: "delete the last snapshot", setup: func(t *testing.T, x *matrix) {
			snapshot(t, x)
			must(t, x.live.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("a")})
		}, run: deleteSnapshot},
		{name: "delete what was cloned", setup: func(t *testing.T, x *matrix) {
			snapshot(t, x)
			if err := restored(x.live.running, "b"); err != nil {
				t.Fatal(err)
			}
		}, run: func(r *running) error {
			return steps(func() error { return deleteIt("a")(r) }, func() error { return deleteSnapshot(r) })
		}},
		{name: "renew the lease", setup: none, points: "store.lease-renew", run: func(r *running) error {
			time.Sleep(7 * time.Second) // it is renewed every 5 s
			return onlyError(call(r.Server.GetStatus, &v1.GetStatusRequest{}))
		}},
	}
}

// forgetMounts makes the next server take the pool for newly imported.
func (m *machine) forgetMounts(t *testing.T) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(m.runDir, "*", "mounted"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("got %v, %v", dirs, err)
	}
	if err := os.RemoveAll(dirs[0]); err != nil {
		t.Fatal(err)
	}
}

// history leaves a bit of everything: claims, a snapshot, a clone, a dot out of
// sight that a snapshot keeps.
func history(t *testing.T, x *matrix) {
	snapshot(t, x)
	if err := restored(x.live.running, "b"); err != nil {
		t.Fatal(err)
	}
	must(t, x.live.Volumes.CreateVolume, pvc("gone"))
	must(t, x.live.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "kept", Volume: volumeID("gone")})
	must(t, x.live.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("gone")})
}

func crashStarts() []crashStart {
	return []crashStart{
		{name: "start", setup: history, before: func(x *matrix) { x.outdatePool() }},
		{name: "recover", recover: true, setup: history, before: func(x *matrix) {
			// One that was used for nothing has an identity of its own.
			x.loseRegistry()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			x.registry(ctx)
			if _, err := x.store.EnsureCluster(ctx); err != nil {
				x.t.Fatal(err)
			}
			// As beside a registry that did not know the volume.
			if err := x.pool.SetReadonly(ctx, x.headOf(x.t, "a"), true); err != nil {
				x.t.Fatal(err)
			}
		}, check: func(t *testing.T, x *matrix) {
			if err := stage("a")(x.live.running); err != nil {
				t.Errorf("a recovered volume cannot be staged: %v", err)
			}
			values, err := x.pool.Get(t.Context(), x.headOf(t, "a"), zfs.PropReadonly)
			if got, _ := values.Local(zfs.PropReadonly); err != nil || got != "off" {
				t.Errorf("readonly of a recovered volume: got %q, %v", got, err)
			}
		}},
		{name: "recover a second pool", recover: true, setup: history, before: func(x *matrix) { x.recoverAnother() }, check: func(t *testing.T, x *matrix) {
			if err := stage("a")(x.live.running); err != nil {
				t.Errorf("a volume of a pool that joined cannot be staged: %v", err)
			}
		}},
	}
}

// outdatePool has the registry tell of the pool what a start has to write anew.
func (x *matrix) outdatePool() {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	x.registry(ctx)
	pools, err := x.store.ListPools(ctx)
	if err != nil || len(pools) != 1 {
		x.t.Fatalf("got %d pools, %v, want one", len(pools), err)
	}
	old := pools[0].Value
	old.ZFSVersion = "of before an upgrade"
	if err := x.store.Txn().Unchanged(store.PoolKey(old.ID), pools[0].Revision).PutPool(old).Commit(ctx); err != nil {
		x.t.Fatal(err)
	}
}

// recoverAnother begins a registry as the recovery of another pool leaves it, which
// holds nothing.
func (x *matrix) recoverAnother() {
	x.t.Helper()
	const incarnation zfs.Property = "io.dotmesh:incarnation"
	x.loseRegistry()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	x.registry(ctx)
	values, err := x.pool.Get(ctx, x.pool.Root(), engine.ClusterProperty, incarnation)
	if err != nil {
		x.t.Fatal(err)
	}
	cluster, _ := values.Local(engine.ClusterProperty)
	text, _ := values.Local(incarnation)
	seen, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		x.t.Fatal(err)
	}
	other := dot.Pool{ID: dot.PoolIDOf(8), Node: "another"}
	if err := x.store.Txn().PutCluster(store.Cluster{ID: cluster, Incarnation: seen + 1}).PutPool(other).Commit(ctx); err != nil {
		x.t.Fatal(err)
	}
}
