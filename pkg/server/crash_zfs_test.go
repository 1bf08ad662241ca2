//go:build zfs

package server_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
)

// crashFlow is something that a server can die in the middle of. run is what a
// caller repeats until it succeeds; setup is done undisturbed.
type crashFlow struct {
	name  string
	setup func(t *testing.T, r *running)
	run   func(r *running) error
}

func volumeID(name string) string { return dot.VolumeIDOf("pvc-" + name).String() }

// steps runs calls one after another until one fails.
func steps(calls ...func() error) error {
	for _, c := range calls {
		if err := c(); err != nil {
			return err
		}
	}
	return nil
}

func crashFlows() []crashFlow {
	create := func(t *testing.T, r *running) { must(t, r.Volumes.CreateVolume, pvc("a")) }
	snapshot := func(t *testing.T, r *running) {
		create(t, r)
		must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s", Volume: volumeID("a")})
	}
	handle := func(r *running) (string, error) {
		res, err := call(r.Volumes.ListSnapshots, &v1.ListSnapshotsRequest{})
		if err != nil || len(res.Snapshots) == 0 {
			return "", err
		}
		return res.Snapshots[0].Handle, nil
	}
	return []crashFlow{
		{"create", func(*testing.T, *running) {}, func(r *running) error {
			_, err := call(r.Volumes.CreateVolume, pvc("a"))
			return err
		}},
		{"join", func(t *testing.T, r *running) {
			first := pvc("a")
			first.DotName = "shared"
			must(t, r.Volumes.CreateVolume, first)
		}, func(r *running) error {
			second := pvc("b")
			second.DotName, second.Subdot = "shared", "b"
			_, err := call(r.Volumes.CreateVolume, second)
			return err
		}},
		{"commit", create, func(r *running) error {
			_, err := call(r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s", Volume: volumeID("a"), Message: "m"})
			return err
		}},
		{"restore", snapshot, func(r *running) error {
			h, err := handle(r)
			if err != nil {
				return err
			}
			req := pvc("b")
			req.SourceSnapshot = h
			_, err = call(r.Volumes.CreateVolume, req)
			return err
		}},
		{"clone", create, func(r *running) error {
			req := pvc("b")
			req.SourceVolume = volumeID("a")
			_, err := call(r.Volumes.CreateVolume, req)
			return err
		}},
		{"attach and stage", create, func(r *running) error {
			return steps(func() error {
				_, err := call(r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: volumeID("a"), Node: node})
				return err
			}, func() error {
				_, err := call(r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: volumeID("a"), Node: node})
				return err
			})
		}},
		{"expand", create, func(r *running) error {
			return steps(func() error {
				_, err := call(r.Volumes.ExpandVolume, &v1.ExpandVolumeRequest{Volume: volumeID("a"), RequiredBytes: 128 << 20})
				return err
			}, func() error {
				_, err := call(r.node.ResizeVolume, &v1.ResizeVolumeRequest{Volume: volumeID("a")})
				return err
			})
		}},
		{"delete what was cloned", func(t *testing.T, r *running) {
			snapshot(t, r)
			h, err := handle(r)
			if err != nil {
				t.Fatal(err)
			}
			req := pvc("b")
			req.SourceSnapshot = h
			must(t, r.Volumes.CreateVolume, req)
		}, func(r *running) error {
			return steps(func() error {
				_, err := call(r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("a")})
				return err
			}, func() error {
				h, err := handle(r)
				if err == nil && h != "" {
					_, err = call(r.Volumes.DeleteSnapshot, &v1.DeleteSnapshotRequest{Handle: h})
				}
				return err
			})
		}},
	}
}

// TestCrashMatrix kills the server at each point that a flow passes, starts
// another, repeats the call, and compares what is there with an undisturbed run.
func TestCrashMatrix(t *testing.T) {
	m := newMachine(t)
	empty := func() string { r := m.start(nil); defer r.stop(); return m.state() }()
	for _, f := range crashFlows() {
		t.Run(strings.ReplaceAll(f.name, " ", "-"), func(t *testing.T) {
			points, want := m.undisturbed(t, f, empty)
			t.Logf("%d points: %v", len(points), points)
			for _, at := range points {
				t.Run(at, func(t *testing.T) { m.crashAt(t, f, at, want, empty) })
			}
		})
	}
}

// undisturbed runs a flow and gives the points that it passed and how it ended.
func (m *machine) undisturbed(t *testing.T, f crashFlow, empty string) (points []string, state string) {
	t.Helper()
	defer m.use(t)()
	var c recorder
	r := m.start(c.pass)
	defer r.stop()
	f.setup(t, r)
	m.settled()
	c.points()
	if err := f.run(r); err != nil {
		t.Fatal(err)
	}
	state = m.settled()
	seen := map[crash.Point]int{}
	for _, p := range c.points() {
		if seen[p]++; seen[p] == 1 || os.Getenv("DOTMESH_CRASH_ALL") != "" {
			points = append(points, fmt.Sprintf("%s#%d", p, seen[p]))
		}
	}
	m.clear(t, r, empty)
	return points, state
}

func (m *machine) crashAt(t *testing.T, f crashFlow, at, want, empty string) {
	defer m.use(t)()
	c := m.startChild(t, at)
	f.setup(t, c.running)
	m.settled()
	c.arm(t)
	failed := make(chan error, 1)
	go func() { failed <- f.run(c.running) }()
	select {
	case <-c.died:
	case err := <-failed:
		// The point is passed in the background, or was not passed this time.
		t.Logf("answered before the crash: %v", err)
		select {
		case <-c.died:
		case <-time.After(10 * time.Second):
		}
	}
	c.kill()

	next := m.start(nil)
	defer next.stop()
	var err error
	for try := 0; try < 20; try++ {
		if err = f.run(next); err == nil {
			break
		}
		if code := dot.CodeOf(err); code != dot.CodeAborted && code != dot.CodeUnavailable {
			t.Fatalf("the retry: %v", err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("the retries: %v", err)
	}
	m.eventually("the state differs from an undisturbed run", func() string {
		if got := m.state(); got != want {
			return fmt.Sprintf("got\n%s\nwant\n%s", got, want)
		}
		return ""
	})
	m.clear(t, next, empty)
}

// use lets the machine speak for a subtest, until the function that it gives is
// called.
func (m *machine) use(t *testing.T) func() {
	outer := m.t
	m.t = t
	return func() { m.t = outer }
}

// settled waits until the background is done and gives the state. What a
// VolumeSnapshot keeps stays hidden, so that the state is done when it rests.
func (m *machine) settled() string {
	last, same := m.state(), 0
	for range 50 {
		time.Sleep(500 * time.Millisecond)
		now := m.state()
		if same++; now != last || strings.Contains(now, "deleting=true") {
			same = 0
		}
		if last = now; same == 2 {
			break
		}
	}
	return last
}

// clear deletes everything that a flow made.
func (m *machine) clear(t *testing.T, r *running, empty string) {
	t.Helper()
	deleteAll := func() error {
		volumes, err := call(r.Volumes.ListVolumes, &v1.ListVolumesRequest{})
		if err != nil {
			return err
		}
		snapshots, err := call(r.Volumes.ListSnapshots, &v1.ListSnapshotsRequest{})
		if err != nil {
			return err
		}
		for _, v := range volumes.Volumes {
			_, err1 := call(r.Volumes.UnpublishVolume, &v1.UnpublishVolumeRequest{Volume: v.Id})
			_, err2 := call(r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: v.Id})
			err = errors.Join(err, err1, err2)
		}
		for _, s := range snapshots.Snapshots {
			_, err1 := call(r.Volumes.DeleteSnapshot, &v1.DeleteSnapshotRequest{Handle: s.Handle})
			err = errors.Join(err, err1)
		}
		return err
	}
	m.eventually("something is left", func() string {
		if err := deleteAll(); err != nil {
			return err.Error()
		}
		if got := m.state(); got != empty {
			return got
		}
		return ""
	})
}
