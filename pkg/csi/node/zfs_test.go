//go:build zfs

package node

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	mount "k8s.io/mount-utils"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/zfstest"
)

// These tests mount real datasets. The server behind the socket is a fake that
// answers what the test prepared by hand; test/sanity has the real one.

const (
	testPool  = "77"
	testQuota = 32 << 20
	project   = 4711
)

type fakeNodeServer struct {
	answer *dotmeshv1.PrepareVolumeResponse
	err    error
	asked  *dotmeshv1.PrepareVolumeRequest
}

func (f *fakeNodeServer) PrepareVolume(_ context.Context, r *connect.Request[dotmeshv1.PrepareVolumeRequest]) (*connect.Response[dotmeshv1.PrepareVolumeResponse], error) {
	f.asked = r.Msg
	if f.err != nil {
		return nil, api.ToConnect(f.err)
	}
	return connect.NewResponse(f.answer), nil
}

func (f *fakeNodeServer) ResizeVolume(_ context.Context, r *connect.Request[dotmeshv1.ResizeVolumeRequest]) (*connect.Response[dotmeshv1.ResizeVolumeResponse], error) {
	if r.Msg.GetVolume() != volumeID {
		return nil, api.ToConnect(dot.NotFound("no such volume"))
	}
	return connect.NewResponse(&dotmeshv1.ResizeVolumeResponse{SizeBytes: 2 * testQuota}), nil
}

const volumeID = "f81d4fae-7dec-81d0-a765-00a0c91e6bf6"

// TestNode runs all of them on one pool, because making one takes most of a
// test's time on an emulated machine.
func TestNode(t *testing.T) {
	pool := zfstest.New(t, 256<<20, zfs.Config{})
	for name, test := range map[string]func(*testing.T, *site){
		"life":      volumeLife,
		"hostile":   hostileSubdots,
		"stale":     staleStaging,
		"final":     finalErrors,
		"unpublish": unpublishRemovesMountsOnly,
		"one-pod":   onePod,
		"shared":    sharedDataset,
		"read-only": readOnlyDataset,
		"fence":     realFence,
		"crashes":   crashes,
	} {
		t.Run(name, func(t *testing.T) { test(t, newSite(t, pool, name)) })
	}
}

// site is a parent with a branch in it that has the subdot "db", and a node
// service.
type site struct {
	*service
	pool    *zfstest.Pool
	server  *fakeNodeServer
	parent  zfs.Dataset
	first   zfs.Dataset
	staging string
	targets string
}

func newSite(t *testing.T, pool *zfstest.Pool, name string) *site {
	t.Helper()
	s := &site{pool: pool, server: &fakeNodeServer{}, parent: dataset(t, pool.Name.String()+"/"+name)}
	create(t, pool, s.parent, zfs.Props{"mountpoint": "legacy", "atime": "off", "devices": "off", "xattr": "sa"})
	s.first = s.branch(t, "first")
	dir := t.TempDir()
	s.staging, s.targets = filepath.Join(dir, "staging"), filepath.Join(dir, "targets")
	must(t, os.MkdirAll(s.targets, 0o700))
	run := filepath.Join(dir, "run")
	s.service = &service{
		node: "n1", cluster: "c1", mounter: mount.NewWithoutSystemd(""),
		servers: &servers{runDir: run}, writers: writers{dir: run + "/csi"},
	}
	s.listen(t, filepath.Join(run, testPool))
	s.server.answer = &dotmeshv1.PrepareVolumeResponse{Dataset: s.first.String(), Subdot: "db"}
	t.Cleanup(func() {
		entries, _ := os.ReadDir(s.targets)
		for _, e := range entries {
			_ = s.unmount(context.Background(), filepath.Join(s.targets, e.Name()))
		}
		_ = s.unmount(context.Background(), headIn(s.staging))
	})
	return s
}

// branch makes a dataset with the subdot "db".
func (s *site) branch(t *testing.T, name string) zfs.Dataset {
	t.Helper()
	d := dataset(t, s.parent.String()+"/"+name)
	create(t, s.pool, d, zfs.Props{"canmount": "noauto"})
	s.inside(t, d, func(root string) { makeSubdot(t, root+"/db", project) })
	return d
}

func (s *site) listen(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, socketName))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(dotmeshv1connect.NewNodeServiceHandler(s.server))
	web := &http.Server{Handler: mux}
	go web.Serve(l)
	t.Cleanup(func() { web.Close() })
}

func dataset(t *testing.T, name string) zfs.Dataset {
	t.Helper()
	d, err := zfs.ParseDataset(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func create(t *testing.T, pool *zfstest.Pool, d zfs.Dataset, props zfs.Props) {
	t.Helper()
	if err := pool.CreateFilesystem(t.Context(), d, props); err != nil {
		t.Fatal(err)
	}
}

// inside mounts a dataset for as long as do runs.
func (s *site) inside(t *testing.T, d zfs.Dataset, do func(root string)) {
	t.Helper()
	root := t.TempDir()
	if err := unix.Mount(d.String(), root, "zfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(root, 0); err != nil {
			t.Error(err)
		}
	}()
	do(root)
}

func makeSubdot(t *testing.T, path string, id uint32) {
	t.Helper()
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := zfs.SetProjectID(f, id, true); err != nil {
		t.Fatal(err)
	}
}

func capability(mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{MountFlags: []string{"noexec"}}},
	}
}

var attached = map[string]string{driver.PublishContextPool: testPool}

func (s *site) stageVolume(t *testing.T) error {
	_, err := s.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: volumeID, StagingTargetPath: s.staging, PublishContext: attached,
		VolumeCapability: capability(csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER),
	})
	return err
}

func (s *site) publishVolume(t *testing.T, target string, ro bool, mode csi.VolumeCapability_AccessMode_Mode) error {
	_, err := s.NodePublishVolume(t.Context(), &csi.NodePublishVolumeRequest{
		VolumeId: volumeID, StagingTargetPath: s.staging, TargetPath: s.target(target), PublishContext: attached,
		Readonly: ro, VolumeCapability: capability(mode),
	})
	return err
}

func (s *site) target(name string) string { return filepath.Join(s.targets, name) }

func (s *site) unpublishVolume(t *testing.T, target string) error {
	_, err := s.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: volumeID, TargetPath: s.target(target)})
	return err
}

const writer = csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func nothingAt(t *testing.T, path string) {
	t.Helper()
	if at, err := mountedAt(path); err != nil || at != nil {
		t.Errorf("%s: got %+v, %v, want nothing mounted", path, at, err)
	}
}

func volumeLife(t *testing.T, s *site) {
	quota := map[uint32]zfs.ProjectQuota{project: {Bytes: testQuota}}
	must(t, s.pool.SetProjectQuotas(t.Context(), s.first, quota))
	for range 2 { // each step twice: a retry is no error
		must(t, s.stageVolume(t))
		must(t, s.publishVolume(t, "a", false, writer))
	}
	if got := s.server.asked; got.GetVolume() != volumeID || got.GetNode() != "n1" || got.GetReadOnly() {
		t.Errorf("asked the server for %v", got)
	}
	must(t, os.WriteFile(s.target("a")+"/file", []byte("data"), 0o600))
	if got, err := os.ReadFile(headIn(s.staging) + "/db/file"); err != nil || string(got) != "data" {
		t.Errorf("in the dataset: got %q, %v", got, err)
	}
	at, err := mountedAt(s.target("a"))
	must(t, err)
	for _, want := range []string{"rw", "nodev", "noatime", "noexec"} {
		if !slices.Contains(at.MountOptions, want) {
			t.Errorf("got mount options %v, want %s", at.MountOptions, want)
		}
	}
	t.Run("stats", func(t *testing.T) { statsAndQuota(t, s) })
	t.Run("read-only", func(t *testing.T) { readOnlyTarget(t, s) })
	t.Run("expand", func(t *testing.T) {
		res, err := s.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{VolumeId: volumeID, VolumePath: s.target("a")})
		if err != nil || res.GetCapacityBytes() != 2*testQuota {
			t.Errorf("got %v, %v", res, err)
		}
		_, err = s.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{VolumeId: "a81d4fae-7dec-81d0-a765-00a0c91e6bf6", VolumePath: s.target("a")})
		if dot.CodeOf(err) != dot.CodeNotFound {
			t.Errorf("a volume that no server knows: got %v", err)
		}
	})
	s.server.err = dot.Unavailable("no etcd") // unmounting asks nobody
	for range 2 {
		must(t, s.unpublishVolume(t, "a"))
		_, err := s.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: volumeID, StagingTargetPath: s.staging})
		must(t, err)
	}
	if left, err := os.ReadDir(s.staging); err != nil || len(left) > 0 {
		t.Errorf("in the staging path: got %v, %v, want nothing", left, err)
	}
	if _, err := os.Lstat(s.target("a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the target is still there: %v", err)
	}
	s.inside(t, s.first, func(root string) {
		if got, err := os.ReadFile(root + "/db/file"); err != nil || string(got) != "data" {
			t.Errorf("after all: got %q, %v", got, err)
		}
	})
}

// sharedDataset stages a dot's dataset for two volumes. kubelet has a volume
// unstaged only when what is at its staging path is mounted nowhere else.
func sharedDataset(t *testing.T, s *site) {
	other := filepath.Join(filepath.Dir(s.staging), "other")
	must(t, s.stageVolume(t))
	_, err := s.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: "a81d4fae-7dec-81d0-a765-00a0c91e6bf6", StagingTargetPath: other, PublishContext: attached,
		VolumeCapability: capability(csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER),
	})
	must(t, err)
	t.Cleanup(func() { _ = s.unmount(context.Background(), headIn(other)) })
	must(t, s.publishVolume(t, "a", false, writer))
	for _, path := range []string{s.staging, other} {
		refs, err := mount.New("").GetMountRefs(path)
		if err != nil || len(refs) > 0 {
			t.Errorf("kubelet would not have %s unstaged: mounted too at %v, %v", path, refs, err)
		}
	}
}

func statsAndQuota(t *testing.T, s *site) {
	filler := s.target("a") + "/filler"
	f, err := os.Create(filler)
	must(t, err)
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i*7 + i>>8)
	}
	var full error
	for range 3 * testQuota >> 20 {
		if _, full = f.Write(block); full != nil {
			break
		}
		must(t, f.Sync())
	}
	f.Close()
	if !errors.Is(full, unix.EDQUOT) {
		t.Errorf("writing past the quota: got %v, want EDQUOT", full)
	}
	res, err := s.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: s.target("a")})
	must(t, err)
	for _, u := range res.GetUsage() {
		t.Logf("%v", u)
		switch u.GetUnit() {
		case csi.VolumeUsage_BYTES:
			if u.GetTotal() != testQuota || u.GetUsed() < testQuota/2 || u.GetAvailable() > testQuota/2 {
				t.Errorf("got %v, want the quota of the subdot and what is in it", u)
			}
		case csi.VolumeUsage_INODES:
			if u.GetUsed() < 2 || u.GetUsed() > 50 || u.GetTotal() <= u.GetUsed() {
				t.Errorf("got %v, want the few files of the subdot", u)
			}
		}
	}
	must(t, os.Remove(filler))
	for range 100 { // what was removed counts until it was written to the disk
		if err = os.WriteFile(s.target("a")+"/again", nil, 0o600); err == nil {
			return
		}
		time.Sleep(300 * time.Millisecond)
	}
	t.Errorf("after making room: %v", err)
}

func readOnlyTarget(t *testing.T, s *site) {
	for range 2 {
		must(t, s.publishVolume(t, "ro", true, writer))
	}
	if err := os.WriteFile(s.target("ro")+"/file", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to a read-only target: got %v", err)
	}
	must(t, os.WriteFile(s.target("a")+"/other", nil, 0o600)) // and the first stays writable
	if err := s.publishVolume(t, "ro", false, writer); dot.CodeOf(err) != dot.CodeExists {
		t.Errorf("making it writable: got %v", err)
	}
	at, err := mountedAt(s.target("ro"))
	must(t, err)
	for _, want := range []string{"ro", "nodev", "noatime", "noexec"} {
		if !slices.Contains(at.MountOptions, want) {
			t.Errorf("got mount options %v, want %s", at.MountOptions, want)
		}
	}
	// A crash between bind and remount leaves a writable mount.
	must(t, s.unpublishVolume(t, "ro"))
	must(t, os.Mkdir(s.target("ro"), 0o700))
	must(t, unix.Mount(headIn(s.staging)+"/db", s.target("ro"), "", unix.MS_BIND, ""))
	must(t, s.publishVolume(t, "ro", true, writer))
	if err := os.WriteFile(s.target("ro")+"/file", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("after a crash: got %v, want read-only", err)
	}
	must(t, s.unpublishVolume(t, "ro"))
}

func hostileSubdots(t *testing.T, s *site) {
	s.inside(t, s.first, func(root string) {
		must(t, os.Symlink("/etc", root+"/link"))
		must(t, os.Symlink("db", root+"/inner"))
		must(t, os.WriteFile(root+"/file", nil, 0o600))
		must(t, unix.Mknod(root+"/device", unix.S_IFBLK|0o666, int(unix.Mkdev(8, 0))))
		must(t, os.Mkdir(root+"/over", 0o777))
	})
	must(t, s.stageVolume(t))
	must(t, unix.Mount("tmpfs", headIn(s.staging)+"/over", "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(headIn(s.staging)+"/over", 0) })
	for _, subdot := range []string{"link", "inner", "file", "device", "over"} {
		s.server.answer.Subdot = subdot
		err := s.publishVolume(t, "t", false, writer)
		if err == nil || dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), subdot) {
			t.Errorf("%s: got %v", subdot, err)
		}
		nothingAt(t, s.target("t"))
	}
	for _, bad := range []string{"..", ".", "a/b", "-x", "__x"} {
		s.server.answer.Subdot = bad
		if err := s.publishVolume(t, "t", false, writer); err == nil {
			t.Errorf("%q was mounted", bad)
		}
	}
	s.server.answer.Subdot = "" // the root, over which nothing lies
	must(t, s.publishVolume(t, "t", false, writer))
	must(t, s.unpublishVolume(t, "t"))
}

func staleStaging(t *testing.T, s *site) {
	if err := s.publishVolume(t, "t", false, writer); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("nothing is staged: got %v", err)
	}
	must(t, s.stageVolume(t))
	second := s.branch(t, "second")
	s.server.answer.Dataset = second.String() // as after a reset
	if err := s.publishVolume(t, "t", false, writer); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("another dataset is staged: got %v", err)
	}
	nothingAt(t, s.target("t"))
	must(t, s.stageVolume(t))
	must(t, s.publishVolume(t, "t", false, writer))
	at, err := mountedAt(headIn(s.staging))
	if err != nil || at == nil || at.Source != second.String() {
		t.Errorf("got %+v, %v, want the second dataset", at, err)
	}
	// A head that is renamed while it is mounted is no longer the branch's.
	must(t, s.pool.Rename(t.Context(), second, dataset(t, second.String()+"-gone")))
	if err := s.publishVolume(t, "u", false, writer); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("the dataset was renamed: got %v", err)
	}
	s.server.err = dot.Precondition("not published to node n1")
	if err := s.publishVolume(t, "u", false, writer); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("the server refuses: got %v", err)
	}
}

// finalErrors meets a refusal after an earlier try has mounted without kubelet
// knowing: see final.go.
func finalErrors(t *testing.T, s *site) {
	must(t, s.stageVolume(t))
	must(t, s.publishVolume(t, "t", false, writer))
	s.server.err = dot.Precondition("not published to node n1")
	if err := s.publishVolume(t, "t", false, writer); dot.CodeOf(err) != dot.CodeUnavailable || !strings.Contains(err.Error(), "not published") {
		t.Errorf("publish where something is mounted: got %v, want an error that is not final", err)
	}
	if at, err := mountedAt(s.target("t")); err != nil || at == nil {
		t.Errorf("the target of a pod that may run was unmounted: %v", err)
	}
	s.server.err = dot.Unavailable("away")
	if err := s.stageVolume(t); dot.CodeOf(err) != dot.CodeUnavailable {
		t.Errorf("stage with the server away: got %v", err)
	}
	if at, err := mountedAt(headIn(s.staging)); err != nil || at == nil {
		t.Errorf("after an error that is not final: got %+v, %v, want the head mounted", at, err)
	}
	s.server.err = dot.Precondition("not published to node n1")
	busy, err := os.Open(headIn(s.staging))
	must(t, err)
	if err := s.stageVolume(t); dot.CodeOf(err) != dot.CodeUnavailable || !strings.Contains(err.Error(), "not published") {
		t.Errorf("stage that cannot be undone: got %v, want an error that is not final", err)
	}
	must(t, busy.Close())
	for range 2 {
		if err := s.stageVolume(t); dot.CodeOf(err) != dot.CodePrecondition {
			t.Errorf("stage: got %v, want the server's refusal", err)
		}
	}
	if left, err := os.ReadDir(s.staging); err != nil || len(left) > 0 {
		t.Errorf("in the staging path: got %v, %v, want nothing", left, err)
	}
	must(t, s.unpublishVolume(t, "t"))
	if err := s.publishVolume(t, "t", false, writer); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("publish where nothing is mounted: got %v, want the server's refusal", err)
	}
}

func unpublishRemovesMountsOnly(t *testing.T, s *site) {
	must(t, s.stageVolume(t))
	must(t, s.publishVolume(t, "t", false, writer))
	for range 3 { // mounts on top of each other, as after a race
		must(t, unix.Mount(headIn(s.staging)+"/db", s.target("t"), "", unix.MS_BIND, ""))
	}
	must(t, os.WriteFile(s.target("t")+"/file", []byte("data"), 0o600))
	must(t, s.unpublishVolume(t, "t"))
	nothingAt(t, s.target("t"))
	if got, err := os.ReadFile(headIn(s.staging) + "/db/file"); err != nil || string(got) != "data" {
		t.Errorf("got %q, %v: unmounting took data", got, err)
	}
	must(t, os.MkdirAll(s.target("t")+"/data", 0o700))
	if err := s.unpublishVolume(t, "t"); err == nil {
		t.Error("a directory with something in it was removed")
	}
	if _, err := os.Stat(s.target("t") + "/data"); err != nil {
		t.Error(err)
	}
	// In use: the mount stays, and so does the claim to it.
	must(t, s.publishVolume(t, "busy", false, writer))
	f, err := os.Open(s.target("busy") + "/file")
	must(t, err)
	if err := s.unpublishVolume(t, "busy"); err == nil {
		t.Error("unmounted under an open file")
	}
	f.Close()
	must(t, s.unpublishVolume(t, "busy"))
}

func onePod(t *testing.T, s *site) {
	const one = csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
	must(t, s.stageVolume(t))
	for range 2 {
		must(t, s.publishVolume(t, "a", false, one))
	}
	if err := s.publishVolume(t, "b", false, one); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("a second target: got %v", err)
	}
	must(t, s.unpublishVolume(t, "a"))
	must(t, s.publishVolume(t, "b", false, one))
}

func readOnlyDataset(t *testing.T, s *site) {
	s.server.answer.ReadOnly = true
	must(t, s.pool.SetReadonly(t.Context(), s.first, true))
	for range 2 {
		must(t, s.stageVolume(t))
		must(t, s.publishVolume(t, "t", false, writer))
	}
	if err := os.WriteFile(s.target("t")+"/file", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("got %v, want a read-only file system", err)
	}
}

func realFence(t *testing.T, s *site) {
	must(t, s.stageVolume(t))
	must(t, s.publishVolume(t, "t", false, writer))
	f, err := os.Create(s.target("t") + "/file")
	must(t, err)
	defer f.Close()
	w, err := newWatcher(s.servers.runDir, s.pool.SetReadonly)
	must(t, err)
	now, err := w.now()
	must(t, err)
	d := dot.FenceDeadline{BootID: w.bootID, At: now + 3*time.Second, Dataset: s.parent.String()}
	content, err := json.Marshal(d)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(s.servers.runDir, testPool, dot.FenceDeadlineFile), content, 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { _ = w.run(ctx) }()
	if _, err := f.WriteString("before"); err != nil {
		t.Errorf("before the deadline: %v", err)
	}
	for ctx.Err() == nil {
		if _, err = f.WriteString("x"); err != nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	after, clockErr := w.now()
	must(t, clockErr)
	if !errors.Is(err, unix.EROFS) || after < d.At {
		t.Errorf("got %v %v after the deadline, want EROFS", err, after-d.At)
	}
	t.Logf("the first refused write was %v after the deadline", after-d.At)
	must(t, s.pool.SetReadonly(t.Context(), dataset(t, d.Dataset), false))
	if _, err := f.WriteString("after"); err != nil {
		t.Errorf("after the fence was lifted: %v", err)
	}
}
