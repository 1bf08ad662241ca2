//go:build zfs

package server_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
	"github.com/dotmesh-io/dotmesh-csi/pkg/server"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/loop"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/zfstest"
)

const aClaim = "11111111-2222-4333-8444-555555555555"

// disk is one that servers have in one assignment after another.
type disk struct {
	*machine
	path string
	name zfs.PoolName
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	m := newMachine(t)
	_, device := zfstest.Loop(t, 512<<20)
	d := &disk{machine: m, path: device.Path, name: zfstest.Name(t)}
	t.Cleanup(func() {
		if ours, err := d.attached(); err == nil {
			if err := ours.Detach(context.Background()); err != nil {
				t.Errorf("the loop device is left behind: %v", err)
			}
		}
	})
	zfstest.CleanUp(t, d.name)
	return d
}

// attached is our loop device over the disk.
func (d *disk) attached() (loop.Device, error) {
	f, err := os.OpenFile(d.path, os.O_RDWR, 0)
	if err != nil {
		return loop.Device{}, err
	}
	defer func() { _ = f.Close() }()
	return loop.Find(f)
}

func (d *disk) of(generation uint64) server.PoolConfig {
	return server.PoolConfig{Name: d.name.String(), Device: d.path, Multihost: true, Claim: aClaim, Generation: generation}
}

func (d *disk) configOf(generation uint64, hook crash.Hook) server.Config {
	cfg := d.config(hook)
	cfg.Pool, cfg.Zone = d.of(generation), "zone-a"
	return cfg
}

// gone fails unless nothing of the pool is left on this machine.
func (d *disk) gone(poolID string) {
	d.t.Helper()
	if _, err := d.pool.Pool(context.Background(), d.name); !errors.Is(err, zfs.ErrNoSuchPool) {
		d.t.Errorf("the pool is still imported: %v", err)
	}
	if device, err := d.attached(); !errors.Is(err, loop.ErrNotFound) {
		d.t.Errorf("the loop device is left: %v, %v", device, err)
	}
	for _, name := range []string{dot.FenceDeadlineFile, "node.sock"} {
		if _, err := os.Stat(filepath.Join(d.runDir, poolID, name)); !os.IsNotExist(err) {
			d.t.Errorf("%s is left: %v", name, err)
		}
	}
}

// release asks as the operator does: again where an answer takes longer than a call.
func release(t *testing.T, r *running, generation uint64) *v1.ReleaseResponse {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; {
		res, err := call(r.Server.Release, &v1.ReleaseRequest{Generation: generation})
		if err == nil {
			return res
		}
		if dot.CodeOf(err) != dot.CodeUnavailable && dot.CodeOf(err) != dot.CodeDeadline || time.Now().After(deadline) {
			t.Fatalf("release: %v", err)
		}
	}
}

// refusedFor fails unless a release is refused because of somebody.
func refusedFor(t *testing.T, r *running, who string) {
	t.Helper()
	res := release(t, r, 1)
	if res.Released || !strings.Contains(strings.Join(res.Holders, "\n"), who) {
		t.Errorf("got %v, want a refusal because of %s", res, who)
	}
	status := must(t, r.Server.GetStatus, &v1.GetStatusRequest{})
	if !status.InUse || !status.Ready || !strings.Contains(strings.Join(status.Users, "\n"), who) {
		t.Errorf("got %v, want a ready server whose pool %s uses", status, who)
	}
}

// awaitReleased waits for a server that serves nothing.
func (d *disk) awaitReleased(r *running) {
	d.t.Helper()
	d.eventually("not released", func() string {
		select {
		case err := <-r.exit:
			d.t.Fatalf("the server stopped: %v", err)
		default:
		}
		status, err := call(r.Server.GetStatus, &v1.GetStatusRequest{})
		if err == nil && status.Released && !status.Ready && !status.InUse {
			return ""
		}
		return status.String()
	})
}

// refuses fails unless a server of a generation ends because the pool is another's.
func (d *disk) refuses(cfg server.Config) {
	d.t.Helper()
	r := d.launch(cfg)
	defer r.stop()
	select {
	case err := <-r.exit:
		if !errors.Is(err, pool.ErrGivenAway) {
			d.t.Errorf("generation %d: got %v, want a refusal", cfg.Pool.Generation, err)
		}
	case <-time.After(2 * time.Minute):
		d.t.Errorf("generation %d goes on", cfg.Pool.Generation)
	}
}

func TestReleaseOfAPool(t *testing.T) {
	d := newDisk(t)
	r := d.startWith(d.configOf(1, nil))
	status := must(t, r.Server.GetStatus, &v1.GetStatusRequest{})
	if status.InUse || status.Released || status.Claim != aClaim || status.Generation != 1 || status.Zone != "zone-a" {
		t.Errorf("got %v", status)
	}
	volume := must(t, r.Volumes.CreateVolume, pvc("first")).Volume
	must(t, r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: volume.Id, Node: node})
	refusedFor(t, r, "claim default/first")
	path, unmount := mount(t, must(t, r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: volume.Id, Node: node}))
	write(t, path, "kept")

	// A pod with mounts of its own keeps one that is unmounted everywhere else.
	private := exec.Command("unshare", "-m", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 600")
	out, err := private.StdoutPipe()
	if err := errors.Join(err, private.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = private.Process.Kill(); _ = private.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	unmount()
	must(t, r.Volumes.UnpublishVolume, &v1.UnpublishVolumeRequest{Volume: volume.Id, Node: node})
	refusedFor(t, r, fmt.Sprintf("(process %d)", private.Process.Pid))
	if err := private.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = private.Wait()

	if res := release(t, r, 2); res.Released || res.Reason == "" {
		t.Errorf("of a generation that is not this server's: got %v", res)
	}
	for range 2 {
		if res := release(t, r, 1); !res.Released {
			t.Fatalf("got %v", res)
		}
		d.gone(status.PoolId)
		d.awaitReleased(r)
	}
	if _, err := call(r.Volumes.ListVolumes, &v1.ListVolumesRequest{}); dot.CodeOf(err) != dot.CodeUnavailable || err == nil {
		t.Errorf("a call afterwards: got %v", err)
	}
	r.stop()

	r = d.launch(d.configOf(1, nil))
	d.awaitReleased(r)
	if res := release(t, r, 1); !res.Released {
		t.Errorf("after a restart: got %v", res)
	}
	d.gone(status.PoolId)

	// The next one need not wait for that server to end.
	next := d.startWith(d.configOf(2, nil))
	defer next.stop()
	r.stop()
	must(t, next.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: volume.Id, Node: node})
	path, unmount = mount(t, must(t, next.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: volume.Id, Node: node}))
	if got := read(t, path); got != "kept" {
		t.Errorf("got %q", got)
	}
	d.refuses(d.configOf(1, nil))
	unmount()
	next.stop()

	// The registry is lost: the disk says it too.
	d.loseRegistry()
	for _, rebuild := range []bool{false, true} {
		cfg := d.configOf(1, nil)
		cfg.Recover = rebuild
		d.refuses(cfg)
	}
	cfg := d.configOf(2, nil)
	cfg.Recover = true
	if found := must(t, d.startWith(cfg).Volumes.GetVolume, &v1.GetVolumeRequest{Volume: volume.Id}); found.Volume.Id != volume.Id {
		t.Errorf("got %v", found)
	}
}

// TestServerThatStartsTellsOfItsPool: pods may use a pool that the process before has
// imported, also while there is no etcd to serve it with.
func TestServerThatStartsTellsOfItsPool(t *testing.T) {
	d := newDisk(t)
	cfg := d.configOf(1, nil)
	r := d.startWith(cfg)
	if s := must(t, r.Server.GetStatus, &v1.GetStatusRequest{}); s.DiskBytes != 512<<20 || s.SizeBytes >= s.DiskBytes {
		t.Errorf("got %d bytes on a disk of %d", s.SizeBytes, s.DiskBytes)
	}
	r.stop()
	d.stopEtcd()
	r = d.launch(cfg)
	d.eventually("the pool is not told of", func() string {
		s, err := call(r.Server.GetStatus, &v1.GetStatusRequest{})
		if err == nil && !s.Ready && s.PoolId == "" && s.PoolName == d.name.String() && s.InUse {
			return ""
		}
		return fmt.Sprint(s, err)
	})
	d.startEtcd()
	d.awaitReady(r)
}
