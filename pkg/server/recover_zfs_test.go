//go:build zfs

package server_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/server"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// TestRecoverFromAnEmptyRegistry loses the registry of a pool that has seen much.
// A pod goes on writing meanwhile, and finds its volume as it was.
func TestRecoverFromAnEmptyRegistry(t *testing.T) {
	m := newMachine(t)
	r := m.start(nil)
	l := live(t, m, r)
	m.settled()
	r.stop()
	half := halfReceived(t, m, l)
	// The attacher publishes again what it finds not to be published.
	want := strings.ReplaceAll(m.state(), "published=1", "published=0")

	m.loseRegistry()
	m.refuses(m.config(nil), "--recover")
	cfg := m.config(nil)
	cfg.Recover = true
	r = m.startWith(cfg)
	m.becomes("the recovered state", want)
	l.check(t, m, r)
	r.stop()
	if values, err := m.pool.Get(t.Context(), half, zfs.PropReceiveToken); err != nil || len(values[zfs.PropReceiveToken].Value) < 2 {
		t.Errorf("the half-received stream cannot be resumed: %v, %v", values, err)
	}
	// The flag stays in the Deployment: a restart serves what was recovered.
	want = m.settled()
	r = m.startWith(cfg)
	m.becomes("the state after a restart with --recover", want)
	r.stop()
}

// refuses starts a server that has to end with an error that says what.
func (m *machine) refuses(cfg server.Config, what string) {
	m.t.Helper()
	r := m.launch(cfg)
	select {
	case err := <-r.exit:
		if dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), what) {
			m.t.Errorf("got %v, want CodePrecondition with %q", err, what)
		}
	case <-time.After(2 * time.Minute):
		m.t.Fatalf("no error with %q", what)
	}
	r.stop()
}

// lived is what was left of a registry that is lost.
type lived struct {
	pod       string            // where the pod's volume, "a", is mounted
	snapshots map[string]string // handles by CSI name
	content   map[string]string // of each volume's file
	sizes     map[string]int64
}

// live makes a dot with two claims, a clone that a promote put above it, a dot
// whose origin was destroyed, a branch out of sight that a snapshot keeps, and a
// dot that dm made and committed.
func live(t *testing.T, m *machine, r *running) lived {
	t.Helper()
	l := lived{snapshots: map[string]string{}, content: map[string]string{}, sizes: map[string]int64{}}
	add := func(name string, change func(*v1.CreateVolumeRequest)) {
		req := pvc(name)
		change(req)
		l.sizes[name] = must(t, r.Volumes.CreateVolume, req).Volume.SizeBytes
	}
	take := func(name, volume string) {
		res := must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: name, Volume: volumeID(volume), Message: "message of " + name})
		l.snapshots[name] = res.Snapshot.Handle
	}
	add("a", func(req *v1.CreateVolumeRequest) { req.RequiredBytes = 96 << 20 })
	path, _ := mounted(t, r, "a")
	l.pod = path
	filler := incompressible()
	if err := os.WriteFile(filepath.Join(path, "filler"), filler, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, path, "old")
	take("s", "a")
	write(t, path, "new")
	l.content["a"] = "new"

	add("b", func(req *v1.CreateVolumeRequest) { req.SourceSnapshot, req.RequiredBytes = l.snapshots["s"], 112<<20 })
	l.content["b"] = "old"
	promote(t, m, "b")
	add("c", func(req *v1.CreateVolumeRequest) { req.DotName, req.Subdot = "a", "second" })

	add("x", func(*v1.CreateVolumeRequest) {})
	filledBy(t, r, "x", "of x")
	take("sx", "x")
	add("y", func(req *v1.CreateVolumeRequest) { req.SourceSnapshot = l.snapshots["sx"] })
	l.content["y"] = "of x"
	must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("x")})
	must(t, r.Volumes.DeleteSnapshot, &v1.DeleteSnapshotRequest{Handle: l.snapshots["sx"]})
	delete(l.sizes, "x")
	delete(l.snapshots, "sx")

	add("gone", func(*v1.CreateVolumeRequest) {})
	filledBy(t, r, "gone", "of gone")
	take("kept", "gone")
	must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("gone")})
	delete(l.sizes, "gone")

	must(t, r.Dots.CreateDot, &v1.CreateDotRequest{Dot: "mine"})
	must(t, r.Dots.Commit, &v1.CommitRequest{Dot: "mine", Message: "by hand", Metadata: map[string]string{"k": "v"}})
	return l
}

// check uses everything without having changed it.
func (l lived) check(t *testing.T, m *machine, r *running) {
	t.Helper()
	// The pod was never disturbed, and the attacher attaches what is not attached.
	write(t, l.pod, "while nobody looked")
	l.content["a"] = "while nobody looked"
	for _, v := range must(t, r.Volumes.ListVolumes, &v1.ListVolumesRequest{}).Volumes {
		name := strings.TrimPrefix(v.CsiName, "pvc-")
		if want, known := l.sizes[name]; !known || v.SizeBytes != want {
			t.Errorf("volume %s has %d bytes, want %d (%t)", v.CsiName, v.SizeBytes, want, known)
		}
	}
	for name := range l.sizes {
		path, unmount := mounted(t, r, name)
		if want := l.content[name]; want != "" {
			if got := read(t, path); got != want {
				t.Errorf("volume %s: got %q, want %q", name, got, want)
			}
		}
		var st unix.Statfs_t
		if err := unix.Statfs(path, &st); err != nil || int64(st.Blocks)*st.Bsize != l.sizes[name] {
			t.Errorf("volume %s: df shows %d bytes, %v, want %d", name, int64(st.Blocks)*st.Bsize, err, l.sizes[name])
		}
		unmount()
	}
	for name, handle := range l.snapshots {
		of := map[string]string{"s": "a", "kept": "gone"}[name]
		res, err := call(r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: name, Volume: volumeID(of)})
		if of == "a" && (err != nil || res.Snapshot.Handle != handle) {
			t.Errorf("snapshot %s is another one: %v, %v, want %s", name, res, err, handle)
		}
		again := pvc("from-" + name)
		again.SourceSnapshot, again.RequiredBytes = handle, 96<<20
		must(t, r.Volumes.CreateVolume, again)
		path, unmount := mounted(t, r, "from-"+name)
		if got, want := read(t, path), map[string]string{"s": "old", "kept": "of gone"}[name]; got != want {
			t.Errorf("restored from %s: got %q, want %q", name, got, want)
		}
		unmount()
	}
	must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s2", Volume: volumeID("a")})
	log := must(t, r.Dots.ListCommits, &v1.ListCommitsRequest{Dot: "mine"}).Commits
	if len(log) != 1 || log[0].Message != "by hand" || log[0].Metadata["k"] != "v" {
		t.Errorf("the commits of dm: got %v", log)
	}
}

// mounted publishes, prepares and mounts a volume, as a pod's start does.
func mounted(t *testing.T, r *running, name string) (path string, unmount func()) {
	t.Helper()
	must(t, r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: volumeID(name), Node: node})
	return mount(t, must(t, r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: volumeID(name), Node: node}))
}

// filledBy lets a pod write a volume's file and end.
func filledBy(t *testing.T, r *running, name, content string) {
	t.Helper()
	path, unmount := mounted(t, r, name)
	write(t, path, content)
	unmount()
	must(t, r.Volumes.UnpublishVolume, &v1.UnpublishVolumeRequest{Volume: volumeID(name), Node: node})
}

// promote turns a clone's origin around, as destroying the origin would: the
// commits that it began at lie under it from then on.
func promote(t *testing.T, m *machine, name string) {
	t.Helper()
	clone := m.dataset(t, dot.BranchIDOf(dot.VolumeIDOf("pvc-"+name)).String())
	if err := m.pool.Promote(t.Context(), clone); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) dataset(t *testing.T, name string) zfs.Dataset {
	t.Helper()
	d, err := zfs.ParseDataset(m.pool.Root().String() + "/dotmesh/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// headOf is the dataset of the dot that a volume made.
func (m *machine) headOf(t *testing.T, volume string) zfs.Dataset {
	t.Helper()
	return m.dataset(t, dot.BranchIDOf(dot.VolumeIDOf("pvc-"+volume)).String())
}

// halfReceived leaves what a transfer leaves that broke off.
func halfReceived(t *testing.T, m *machine, l lived) zfs.Dataset {
	t.Helper()
	handle, err := dot.ParseSnapshotHandle(l.snapshots["s"])
	if err != nil {
		t.Fatal(err)
	}
	from := m.dataset(t, dot.BranchIDOf(dot.VolumeIDOf("pvc-b")).String()) // it was promoted
	to := m.dataset(t, dot.NewBranchID().String())
	script := fmt.Sprintf("zfs send %s@%s | head -c 3000000 | zfs receive -s -u %s", from, handle.Commit, to)
	out, err := exec.CommandContext(t.Context(), "sh", "-c", script).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("partial")) && !bytes.Contains(out, []byte("incomplete")) {
		t.Fatalf("receiving half a stream: %v, %s", err, out)
	}
	return to
}

// incompressible is what no compression makes smaller.
func incompressible() []byte {
	b := make([]byte, 8<<20)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(b) // it never fails
	return b
}
