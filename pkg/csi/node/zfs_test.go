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

func realFence(t *testing.T, s *site) {
	must(t, s.stageVolume(t))
	must(t, s.publishVolume(t, "t", false, writer))
	f, err := os.Create(s.target("t") + "/file")
	must(t, err)
	defer f.Close()
	w, err := newWatcher(s.servers.runDir, s.pool.SetReadonly)
	must(t, err)
	d := dot.FenceDeadline{BootID: w.bootID, At: w.now() + 3*time.Second, Dataset: s.parent.String()}
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
	after := w.now()
	if !errors.Is(err, unix.EROFS) || after < d.At {
		t.Errorf("got %v %v after the deadline, want EROFS", err, after-d.At)
	}
	t.Logf("the first refused write was %v after the deadline", after-d.At)
	must(t, s.pool.SetReadonly(t.Context(), dataset(t, d.Dataset), false))
	if _, err := f.WriteString("after"); err != nil {
		t.Errorf("after the fence was lifted: %v", err)
	}
}
