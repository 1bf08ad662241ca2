//go:build zfs && long

package server_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// onVolume does what a pod does that mounts a volume.
func (r *running) onVolume(t *testing.T, name string, do func(path string)) {
	t.Helper()
	must(t, r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: volumeID(name), Node: node})
	path, unmount := mount(t, must(t, r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: volumeID(name), Node: node}))
	do(path)
	unix.Sync()
	unmount()
	must(t, r.Volumes.UnpublishVolume, &v1.UnpublishVolumeRequest{Volume: volumeID(name), Node: node})
}

// TestADirectoryThatNoClaimMadeStays: R of the whole dot made the directory that B
// claims, and both go before A.
func TestADirectoryThatNoClaimMadeStays(t *testing.T) {
	m := newMachine(t)
	r := m.start(nil)
	must(t, r.Volumes.CreateVolume, part("a", ""))
	root := part("r", "__root__")
	root.RequiredBytes = 256 << 20
	must(t, r.Volumes.CreateVolume, root)
	r.onVolume(t, "r", func(path string) {
		if err := os.Mkdir(filepath.Join(path, "export"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(path, "export"), "of the root's pod")
	})
	snap := must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s", Volume: volumeID("a")}).Snapshot
	must(t, r.Volumes.CreateVolume, part("b", "export"))
	r.onVolume(t, "b", func(path string) {
		if got := read(t, path); got != "of the root's pod" {
			t.Errorf("got %q", got)
		}
	})

	// A copy that claims what is a directory of the source's, and no subdot there.
	restored := pvc("c")
	restored.SourceSnapshot, restored.Subdot = snap.Handle, "export"
	must(t, r.Volumes.CreateVolume, restored)
	keep := pvc("keep")
	keep.DotName, keep.Subdot = "c", "other"
	must(t, r.Volumes.CreateVolume, keep)
	r.onVolume(t, "c", func(string) {})
	for _, name := range []string{"c", "r", "b"} {
		must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID(name)})
	}
	for claim, in := range map[string]string{"a3": "shared", "keep2": "c"} {
		whole := pvc(claim)
		whole.DotName, whole.Subdot, whole.RequiredBytes = in, "__root__", 256<<20
		must(t, r.Volumes.CreateVolume, whole)
		r.onVolume(t, claim, func(path string) {
			if got := read(t, filepath.Join(path, "export")); got != "of the root's pod" {
				t.Errorf("dot %s: got %q", in, got)
			}
		})
	}
}

// TestAVolumeOfTheWholeDotHoldsWhatIsThere: smaller ones are refused with the
// reason, before anything is recorded.
func TestAVolumeOfTheWholeDotHoldsWhatIsThere(t *testing.T) {
	m := newMachine(t)
	r := m.start(nil)
	must(t, r.Dots.CreateDot, &v1.CreateDotRequest{Dot: "shared", ShareAll: true})
	must(t, r.Volumes.CreateVolume, part("a", ""))
	r.onVolume(t, "a", func(path string) {
		content := make([]byte, 24<<20)
		_, _ = rand.Read(content)
		if err := os.WriteFile(filepath.Join(path, "data"), content, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	if err := m.pool.Sync(t.Context(), m.pool.Name); err != nil {
		t.Fatal(err)
	}
	small := part("small", "small")
	small.RequiredBytes = 8 << 20
	must(t, r.Volumes.CreateVolume, small)
	of := must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s", Volume: volumeID("small")}).Snapshot
	must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("small")})
	must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("a")})

	before := m.settled()
	restore, clone, join := pvc("restored"), pvc("cloned"), part("joined", "__root__")
	restore.SourceSnapshot, restore.Subdot = of.Handle, "__root__"
	clone.SourceVolume, clone.Subdot = volumeID("joined"), "__root__"
	for _, req := range []*v1.CreateVolumeRequest{restore, join} {
		req.RequiredBytes = 20 << 20
		if req == restore {
			req.LimitBytes = 20 << 20
		}
		_, err := call(r.Volumes.CreateVolume, req)
		if err == nil || dot.CodeOf(err) != dot.CodeOutOfRange || !strings.Contains(err.Error(), "at least") {
			t.Errorf("%s: got %v, want CodeOutOfRange", req.PvcName, err)
		}
	}
	if got := m.settled(); got != before {
		t.Errorf("got\n%s\nwant\n%s", got, before)
	}
	restore.LimitBytes = 0
	for _, req := range []*v1.CreateVolumeRequest{restore, join, clone} {
		req.RequiredBytes = 64 << 20
		must(t, r.Volumes.CreateVolume, req)
		r.onVolume(t, req.PvcName, func(path string) {
			if _, err := os.Stat(filepath.Join(path, "__default__", "data")); err != nil {
				t.Error(err)
			}
		})
	}
	// The larger of two claims goes: what is there stays, and the other can be used.
	second := part("second", "__root__")
	second.RequiredBytes = 32 << 20
	must(t, r.Volumes.CreateVolume, second)
	r.onVolume(t, "joined", func(path string) {
		content := make([]byte, 24<<20)
		_, _ = rand.Read(content)
		if err := os.WriteFile(filepath.Join(path, "more"), content, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	if err := m.pool.Sync(t.Context(), m.pool.Name); err != nil {
		t.Fatal(err)
	}
	must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("joined")})
	r.onVolume(t, "second", func(path string) {
		if _, err := os.Stat(filepath.Join(path, "more")); err != nil {
			t.Error(err)
		}
	})
}

// TestASourceThatGoesMeanwhileLeavesNothing: the snapshot of a restore is gone when
// it is to be cloned, which is the provisioner's last word.
func TestASourceThatGoesMeanwhileLeavesNothing(t *testing.T) {
	m := newMachine(t)
	var i interlude
	r := m.start(i.pass)
	must(t, r.Volumes.CreateVolume, pvc("a"))
	snap := must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s", Volume: volumeID("a")}).Snapshot
	restore := pvc("b")
	restore.SourceSnapshot, restore.DotName = snap.Handle, "db"
	i.arm(zfs.BeforeClone, func() {
		must(t, r.Volumes.DeleteSnapshot, &v1.DeleteSnapshotRequest{Handle: snap.Handle})
		m.eventually("the snapshot", func() string {
			if state := m.state(); strings.Contains(state, "commit of") {
				return state
			}
			return ""
		})
	})
	if _, err := call(r.Volumes.CreateVolume, restore); err == nil || dot.CodeOf(err) != dot.CodeNotFound {
		t.Errorf("got %v, want CodeNotFound", err)
	}
	m.eventually("something is left of it", func() string {
		if state := m.state(); strings.Contains(state, "db") {
			return state
		}
		return ""
	})
	named := pvc("c")
	named.DotName = "db"
	must(t, r.Volumes.CreateVolume, named)
}
