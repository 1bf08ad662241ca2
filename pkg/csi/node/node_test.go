package node

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	mount "k8s.io/mount-utils"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

func TestNodeCapabilitiesAreExactlyThese(t *testing.T) {
	s := &service{node: "n1", cluster: "c1"}
	res, err := s.NodeGetCapabilities(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range res.GetCapabilities() {
		got = append(got, c.GetRpc().GetType().String())
	}
	slices.Sort(got)
	want := []string{"EXPAND_VOLUME", "GET_VOLUME_STATS", "SINGLE_NODE_MULTI_WRITER", "STAGE_UNSTAGE_VOLUME"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	info, err := s.NodeGetInfo(t.Context(), nil)
	if err != nil || info.GetNodeId() != "n1" || info.GetMaxVolumesPerNode() != 0 {
		t.Errorf("got %v, %v", info, err)
	}
	segments := info.GetAccessibleTopology().GetSegments()
	if len(segments) != 2 || segments["topology.dotmesh.csi/node"] != "n1" || segments["topology.dotmesh.csi/cluster"] != "c1" {
		t.Errorf("got topology %v", segments)
	}
}

func TestConfig(t *testing.T) {
	good := Config{Socket: "/csi.sock", RunDir: "/run/dotmesh", NodeName: "n", ClusterName: "c", RegistrationSocket: "/reg.sock"}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"relative socket":       func(c *Config) { c.Socket = "csi.sock" },
		"relative registration": func(c *Config) { c.RegistrationSocket = "reg.sock" },
		"no run directory":      func(c *Config) { c.RunDir = "" },
		"no name":               func(c *Config) { c.NodeName = "" },
		"long name":             func(c *Config) { c.NodeName = strings.Repeat("n", 64) },
		"no cluster":            func(c *Config) { c.ClusterName = "" },
	} {
		bad := good
		change(&bad)
		if _, err := New(bad); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestStageOptions(t *testing.T) {
	for _, c := range []struct {
		ro    bool
		flags []string
		want  string
	}{
		{false, nil, "noatime,nodev"},
		{true, nil, "noatime,nodev,ro"},
		{false, []string{"noexec", "noatime"}, "noatime,nodev,noexec"},
		{false, []string{"relatime"}, "nodev,relatime"},
	} {
		if got := strings.Join(stageOptions(c.ro, c.flags), ","); got != c.want {
			t.Errorf("%v %v: got %s, want %s", c.ro, c.flags, got, c.want)
		}
	}
}

func subdotOf(t *testing.T, s string) dot.Subdot {
	t.Helper()
	v, err := dot.ParseSubdot(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOpenSubdotStaysInside(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "root")
	for _, dir := range []string{"root/good", "outside"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"absolute": "/etc", "relative": "../outside", "inside": "good", "dangling": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, want := range map[string]dot.Code{
		"absolute": dot.CodePrecondition, "relative": dot.CodePrecondition, "inside": dot.CodePrecondition,
		"dangling": dot.CodePrecondition, "file": dot.CodePrecondition, "missing": dot.CodeUnavailable,
	} {
		d, err := openSubdot(f, subdotOf(t, name))
		if err == nil {
			d.Close()
		}
		if err == nil || dot.CodeOf(err) != want {
			t.Errorf("%s: got %v, want code %d", name, err, want)
		}
	}
	for name, path := range map[string]string{"good": filepath.Join(root, "good"), "__root__": root} {
		d, err := openSubdot(f, subdotOf(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, _, err1 := identify(d)
		d.Close()
		at, err2 := open(path)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		want, _, err := identify(at)
		at.Close()
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
		}
	}
}

func TestMountedAt(t *testing.T) {
	at, err := mountedAt("/proc")
	if err != nil || at == nil || at.FsType != "proc" || at.MountPoint != "/proc" {
		t.Errorf("/proc: got %+v, %v", at, err)
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/", link); err != nil {
		t.Fatal(err)
	}
	if at, err := mountedAt(filepath.Join(link, "proc")); err != nil || at == nil || at.FsType != "proc" {
		t.Errorf("/proc behind a symbolic link: got %+v, %v", at, err)
	}
	for _, none := range []string{dir, filepath.Join(dir, "missing"), filepath.Join(dir, "missing", "below"), link} {
		if at, err := mountedAt(none); err != nil || at != nil {
			t.Errorf("%s: got %+v, %v, want nothing", none, at, err)
		}
	}
}

func TestIsDataset(t *testing.T) {
	good := mount.MountInfo{FsType: "zfs", Source: "pool/dotmesh/b", Root: "/"}
	if !isDataset(&good, "pool/dotmesh/b") {
		t.Error("a mounted dataset was not known")
	}
	for name, change := range map[string]func(*mount.MountInfo){
		"another":      func(m *mount.MountInfo) { m.Source = "pool/dotmesh/c" },
		"a part of it": func(m *mount.MountInfo) { m.Root = "/etc" },
		"not ZFS":      func(m *mount.MountInfo) { m.FsType = "ext4" },
	} {
		bad := good
		change(&bad)
		if isDataset(&bad, "pool/dotmesh/b") {
			t.Errorf("%s was taken for the dataset", name)
		}
	}
}

func TestRemoveTakesOnlyEmptyDirectories(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := remove(full); err == nil {
		t.Error("a directory with something in it was removed")
	}
	if err := remove(filepath.Join(full, "data")); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
	if err := remove(filepath.Join(full, "data")); err != nil {
		t.Errorf("what is gone: %v", err)
	}
	if err := remove("/proc"); err == nil {
		t.Error("a mount point was removed")
	}
}

// What is not final is what isFinalError of kubelet's csi_client.go lists.
func TestWhatKubeletTakesAsFinal(t *testing.T) {
	for err, want := range map[error]bool{
		nil:                                false,
		context.Canceled:                   false,
		context.DeadlineExceeded:           false,
		dot.Unavailable("x"):               false,
		dot.Errorf(dot.CodeAborted, "x"):   false,
		dot.Errorf(dot.CodeExhausted, "x"): false,
		dot.Errorf(dot.CodeDeadline, "x"):  false,
		dot.Precondition("x"):              true,
		dot.Invalid("x"):                   true,
		dot.NotFound("x"):                  true,
		errors.New("x"):                    true,
	} {
		if got := isFinal(err); got != want {
			t.Errorf("%v: got %v, want %v", err, got, want)
		}
	}
}

func TestWriters(t *testing.T) {
	w := writers{dir: filepath.Join(t.TempDir(), "csi")}
	if err := w.claim("v", "/proc"); err != nil { // mounted, whatever it is
		t.Fatal(err)
	}
	if err := w.claim("v", "/proc"); err != nil {
		t.Errorf("the same target again: %v", err)
	}
	if err := w.claim("v", "/other"); dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), "/proc") {
		t.Errorf("a second target: got %v", err)
	}
	if err := w.claim("w", "/other"); err != nil {
		t.Errorf("another volume: %v", err)
	}
	if err := w.release("v", "/other"); err != nil {
		t.Error(err)
	}
	if err := w.claim("v", "/other"); err == nil {
		t.Error("another target's release ended the claim")
	}
	if err := w.release("v", "/proc"); err != nil {
		t.Error(err)
	}
	if err := w.claim("v", "/other"); err != nil {
		t.Errorf("after the release: %v", err)
	}
	if err := w.claim("v", "/third"); err != nil { // nothing is mounted at /other
		t.Errorf("after a claim that came to nothing: %v", err)
	}
}

func TestServersReady(t *testing.T) {
	s := &servers{runDir: filepath.Join(t.TempDir(), "r")}
	if s.ready(t.Context()) == nil {
		t.Error("ready without a run directory")
	}
	for _, dir := range []string{"12345", "csi"} {
		if err := os.MkdirAll(filepath.Join(s.runDir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if s.ready(t.Context()) == nil {
		t.Error("ready without a socket")
	}
	l, err := net.Listen("unix", filepath.Join(s.runDir, "12345", socketName))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := s.ready(t.Context()); err != nil {
		t.Error(err)
	}
	sockets, err := s.sockets()
	if err != nil || len(sockets) != 1 {
		t.Errorf("got %v, %v, want the pool's alone", sockets, err)
	}
}

func TestRefusals(t *testing.T) {
	s := &service{servers: &servers{runDir: t.TempDir()}, writers: writers{dir: t.TempDir()}}
	ctx := t.Context()
	const id = "f81d4fae-7dec-81d0-a765-00a0c91e6bf6"
	c := &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
	}
	dir := t.TempDir()
	for name, r := range map[string]struct {
		req  any
		want dot.Code
	}{
		"stage, no volume":       {&csi.NodeStageVolumeRequest{StagingTargetPath: dir, VolumeCapability: c}, dot.CodeInvalid},
		"stage, no path":         {&csi.NodeStageVolumeRequest{VolumeId: "fake-vol-id", VolumeCapability: c}, dot.CodeInvalid},
		"stage, relative":        {&csi.NodeStageVolumeRequest{VolumeId: id, VolumeCapability: c, StagingTargetPath: "a/b"}, dot.CodeInvalid},
		"stage, no capability":   {&csi.NodeStageVolumeRequest{VolumeId: "fake-vol-id", StagingTargetPath: dir}, dot.CodeInvalid},
		"stage, fake volume":     {&csi.NodeStageVolumeRequest{VolumeId: "x y", StagingTargetPath: dir, VolumeCapability: c}, dot.CodeNotFound},
		"stage, not attached":    {&csi.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: dir, VolumeCapability: c}, dot.CodePrecondition},
		"stage, path as pool":    {&csi.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: dir, VolumeCapability: c, PublishContext: map[string]string{"pool": "../../etc"}}, dot.CodePrecondition},
		"stage, server away":     {&csi.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: dir, VolumeCapability: c, PublishContext: map[string]string{"pool": "77"}}, dot.CodeUnavailable},
		"unstage, no volume":     {&csi.NodeUnstageVolumeRequest{StagingTargetPath: dir}, dot.CodeInvalid},
		"unstage, no path":       {&csi.NodeUnstageVolumeRequest{VolumeId: id}, dot.CodeInvalid},
		"publish, no volume":     {&csi.NodePublishVolumeRequest{TargetPath: dir, StagingTargetPath: dir, VolumeCapability: c}, dot.CodeInvalid},
		"publish, no target":     {&csi.NodePublishVolumeRequest{VolumeId: "fake-vol-id", StagingTargetPath: dir, VolumeCapability: c}, dot.CodeInvalid},
		"publish, no staging":    {&csi.NodePublishVolumeRequest{VolumeId: "fake-vol-id", TargetPath: dir, VolumeCapability: c}, dot.CodeInvalid},
		"publish, no capability": {&csi.NodePublishVolumeRequest{VolumeId: "fake-vol-id", TargetPath: dir, StagingTargetPath: dir}, dot.CodeInvalid},
		"unpublish, no volume":   {&csi.NodeUnpublishVolumeRequest{TargetPath: dir}, dot.CodeInvalid},
		"unpublish, no target":   {&csi.NodeUnpublishVolumeRequest{VolumeId: id}, dot.CodeInvalid},
		"stats, no volume":       {&csi.NodeGetVolumeStatsRequest{VolumePath: dir}, dot.CodeInvalid},
		"stats, no path":         {&csi.NodeGetVolumeStatsRequest{VolumeId: "fake-vol-id"}, dot.CodeInvalid},
		"stats, some path":       {&csi.NodeGetVolumeStatsRequest{VolumeId: "fake-vol-id-1", VolumePath: "some/path"}, dot.CodeNotFound},
		"stats, not mounted":     {&csi.NodeGetVolumeStatsRequest{VolumeId: id, VolumePath: dir}, dot.CodeNotFound},
		"stats, not a dot":       {&csi.NodeGetVolumeStatsRequest{VolumeId: id, VolumePath: "/proc"}, dot.CodeNotFound},
		"expand, no volume":      {&csi.NodeExpandVolumeRequest{VolumePath: dir}, dot.CodeInvalid},
		"expand, no path":        {&csi.NodeExpandVolumeRequest{VolumeId: "fake-vol-id"}, dot.CodeInvalid},
		"expand, some path":      {&csi.NodeExpandVolumeRequest{VolumeId: id, VolumePath: "some/path"}, dot.CodeNotFound},
	} {
		var err error
		switch req := r.req.(type) {
		case *csi.NodeStageVolumeRequest:
			_, err = s.NodeStageVolume(ctx, req)
		case *csi.NodeUnstageVolumeRequest:
			_, err = s.NodeUnstageVolume(ctx, req)
		case *csi.NodePublishVolumeRequest:
			_, err = s.NodePublishVolume(ctx, req)
		case *csi.NodeUnpublishVolumeRequest:
			_, err = s.NodeUnpublishVolume(ctx, req)
		case *csi.NodeGetVolumeStatsRequest:
			_, err = s.NodeGetVolumeStats(ctx, req)
		case *csi.NodeExpandVolumeRequest:
			_, err = s.NodeExpandVolume(ctx, req)
		}
		if err == nil || dot.CodeOf(err) != r.want {
			t.Errorf("%s: got code %d, %v, want code %d", name, dot.CodeOf(err), err, r.want)
		}
	}
}

// fenced is a watcher with a clock and a fence of the test's.
type fenced struct {
	*watcher
	clock time.Duration
	sets  []string
	fails error
}

func newFenced(t *testing.T) *fenced {
	f := &fenced{}
	f.watcher = &watcher{
		runDir: t.TempDir(), bootID: "boot", done: map[string]dot.FenceDeadline{},
		now: func() time.Duration { return f.clock },
		fence: func(_ context.Context, d zfs.Dataset, on bool) error {
			if f.fails == nil && on {
				f.sets = append(f.sets, d.String())
			}
			return f.fails
		},
	}
	if err := os.MkdirAll(filepath.Join(f.runDir, "77"), 0o700); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fenced) promise(t *testing.T, d dot.FenceDeadline) {
	t.Helper()
	content, err := json.Marshal(d)
	if err == nil {
		err = os.WriteFile(filepath.Join(f.runDir, "77", dot.FenceDeadlineFile), content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestFenceFallsOnceAfterItsDeadline(t *testing.T) {
	f, ctx := newFenced(t), t.Context()
	f.look(ctx) // no deadline yet
	f.promise(t, dot.FenceDeadline{BootID: "boot", At: 100 * time.Second, Dataset: "pool/dotmesh"})
	f.clock = 99 * time.Second
	f.look(ctx)
	if len(f.sets) != 0 {
		t.Fatalf("fenced %v before the deadline", f.sets)
	}
	f.clock = 100 * time.Second
	f.fails = errors.New("the pool is busy")
	f.look(ctx)
	f.fails = nil
	f.look(ctx)
	f.look(ctx)
	if !slices.Equal(f.sets, []string{"pool/dotmesh"}) {
		t.Fatalf("got %v, want one fence after the failed one", f.sets)
	}
	f.promise(t, dot.FenceDeadline{BootID: "boot", At: 200 * time.Second, Dataset: "pool/dotmesh"})
	f.look(ctx)
	f.clock = 201 * time.Second
	f.look(ctx)
	if len(f.sets) != 2 {
		t.Errorf("got %v, want a second fence for the second deadline", f.sets)
	}
}

func TestFenceLeavesAlone(t *testing.T) {
	for name, d := range map[string]dot.FenceDeadline{
		"another boot":     {BootID: "earlier", At: time.Second, Dataset: "pool/dotmesh"},
		"no dataset":       {BootID: "boot", At: time.Second},
		"nonsense dataset": {BootID: "boot", At: time.Second, Dataset: "-rf"},
	} {
		f := newFenced(t)
		f.clock = time.Hour
		f.promise(t, d)
		f.look(t.Context())
		if len(f.sets) > 0 {
			t.Errorf("%s: fenced %v", name, f.sets)
		}
	}
}

func TestFenceWaitsForWhoRenews(t *testing.T) {
	f := newFenced(t)
	f.clock = time.Hour
	f.promise(t, dot.FenceDeadline{BootID: "boot", At: time.Second, Dataset: "pool/dotmesh"})
	unlock, err := lock(filepath.Join(f.runDir, "77", dot.FenceLockFile))
	if err != nil {
		t.Fatal(err)
	}
	f.look(t.Context())
	if len(f.sets) > 0 {
		t.Error("fenced while the server wrote a later deadline")
	}
	f.promise(t, dot.FenceDeadline{BootID: "boot", At: 2 * time.Hour, Dataset: "pool/dotmesh"})
	unlock()
	f.look(t.Context())
	if len(f.sets) > 0 {
		t.Error("fenced after the deadline was renewed")
	}
}
