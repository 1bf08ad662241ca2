//go:build zfs

package server_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// mount mounts a prepared volume and gives the path of its subdot.
func mount(t *testing.T, p *v1.PrepareVolumeResponse) (path string, unmount func()) {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(p.Dataset, dir, "zfs", 0, ""); err != nil {
		t.Fatalf("mount %s: %v", p.Dataset, err)
	}
	done := false
	unmount = func() {
		if !done {
			done = true
			if err := unix.Unmount(dir, 0); err != nil {
				t.Errorf("unmount %s: %v", dir, err)
			}
		}
	}
	t.Cleanup(unmount)
	return filepath.Join(dir, p.Subdot), unmount
}

func TestFlowLeavesNothing(t *testing.T) {
	m := newMachine(t)
	r := m.start(nil)
	empty := m.state()

	first := must(t, r.Volumes.CreateVolume, pvc("first")).Volume
	if first.Dot != "admin/first" || first.Subdot != "__default__" || first.Node != node {
		t.Errorf("got %v", first)
	}
	must(t, r.Volumes.CreateVolume, pvc("first")) // a retry
	must(t, r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: first.Id, Node: node})
	prepared := must(t, r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: first.Id, Node: node})
	path, unmount := mount(t, prepared)
	write(t, path, "old")

	snap := must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "snap-1", Volume: first.Id, Message: "hello", Metadata: map[string]string{"a": "b"}}).Snapshot
	again := must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "snap-1", Volume: first.Id}).Snapshot
	if snap.Handle != again.Handle {
		t.Errorf("a retry gave another snapshot: %s and %s", snap.Handle, again.Handle)
	}
	write(t, path, "new")

	restore := pvc("restored")
	restore.SourceSnapshot = snap.Handle
	restored := must(t, r.Volumes.CreateVolume, restore).Volume
	cloneOf := pvc("cloned")
	cloneOf.SourceVolume = first.Id
	cloned := must(t, r.Volumes.CreateVolume, cloneOf).Volume
	for id, want := range map[string]string{restored.Id: "old", cloned.Id: "new"} {
		must(t, r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: id, Node: node})
		at, unmountIt := mount(t, must(t, r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: id, Node: node}))
		if got := read(t, at); got != want {
			t.Errorf("volume %s: got %q, want %q", id, got, want)
		}
		unmountIt()
		must(t, r.Volumes.UnpublishVolume, &v1.UnpublishVolumeRequest{Volume: id, Node: node})
	}

	grown := must(t, r.Volumes.ExpandVolume, &v1.ExpandVolumeRequest{Volume: first.Id, RequiredBytes: 128 << 20})
	resized := must(t, r.node.ResizeVolume, &v1.ResizeVolumeRequest{Volume: first.Id})
	if grown.SizeBytes != 128<<20 || resized.SizeBytes != 128<<20 {
		t.Errorf("got %d and %d", grown.SizeBytes, resized.SizeBytes)
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil || int64(stat.Blocks)*stat.Bsize != 128<<20 {
		t.Errorf("statfs shows %d bytes, %v", int64(stat.Blocks)*stat.Bsize, err)
	}

	// The source goes first; what was made of it stays.
	if _, err := call(r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: first.Id}); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("deleting a published volume: got %v", err)
	}
	unmount()
	must(t, r.Volumes.UnpublishVolume, &v1.UnpublishVolumeRequest{Volume: first.Id, Node: node})
	must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: first.Id})
	must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: first.Id})
	late := pvc("late")
	late.SourceSnapshot = snap.Handle
	must(t, r.Volumes.CreateVolume, late)
	must(t, r.Volumes.DeleteSnapshot, &v1.DeleteSnapshotRequest{Handle: snap.Handle})
	if _, err := call(r.Volumes.GetSnapshot, &v1.GetSnapshotRequest{Handle: snap.Handle}); dot.CodeOf(err) != dot.CodeNotFound {
		t.Errorf("a deleted snapshot: got %v", err)
	}
	must(t, r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: restored.Id, Node: node})
	at, unmountIt := mount(t, must(t, r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: restored.Id, Node: node}))
	if got := read(t, at); got != "old" {
		t.Errorf("got %q after its source was deleted", got)
	}
	unmountIt()
	must(t, r.Volumes.UnpublishVolume, &v1.UnpublishVolumeRequest{Volume: restored.Id, Node: node})

	for _, name := range []string{"restored", "cloned", "late"} {
		volume := must(t, r.Volumes.CreateVolume, mapSource(pvc(name), map[string]*v1.CreateVolumeRequest{"restored": restore, "cloned": cloneOf, "late": late})).Volume
		must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volume.Id})
	}
	m.eventually("something is left", func() string {
		if got := m.state(); got != empty {
			return got
		}
		return ""
	})
}

func mapSource(r *v1.CreateVolumeRequest, of map[string]*v1.CreateVolumeRequest) *v1.CreateVolumeRequest {
	return of[r.PvcName]
}

func write(t *testing.T, dir, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
