//go:build zfs

package sanity

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/csi/controller"
	"github.com/dotmesh-io/dotmesh-csi/pkg/csi/node"
	"github.com/dotmesh-io/dotmesh-csi/pkg/server"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/zfstest"
)

const (
	nodeName   = "sanity-node"
	cluster    = "sanity"
	poolSize   = 2 << 30
	volumeSize = 64 << 20
)

// What the suite has. It skips the specs of what the driver does not say it can, and
// would skip others just so if the driver said less. When the suite is another version
// these are counted anew, and what is skipped is looked at.
const (
	passedSpecs  = 80
	skippedSpecs = 22
	pendingSpecs = 1 // by the suite's own choice
)

// site is a whole dotmesh of one node.
type site struct {
	pool             *zfstest.Pool
	dir              string
	address          string
	controllerSocket string
	nodeSocket       string
}

func TestSanity(t *testing.T) {
	klog.LogToStderr(false)
	klog.SetOutput(ginkgo.GinkgoWriter)
	s := start(t)
	t.Run("csi", func(t *testing.T) {
		config := sanity.NewTestConfig()
		config.Address = "unix://" + s.nodeSocket
		config.ControllerAddress = "unix://" + s.controllerSocket
		config.TargetPath = filepath.Join(s.dir, "target")
		config.StagingPath = filepath.Join(s.dir, "staging")
		config.TestVolumeSize = volumeSize
		config.TestVolumeExpandSize = 2 * volumeSize
		var report ginkgo.Report
		ginkgo.ReportAfterSuite("what was run", func(r ginkgo.Report) { report = r })
		sanity.Test(t, config)
		checkCounts(t, report)
	})
	s.leavesNothing(t)
}

// checkCounts fails when other specs were left out than those that do not concern the
// driver.
func checkCounts(t *testing.T, report ginkgo.Report) {
	t.Helper()
	specs := report.SpecReports.WithLeafNodeType(types.NodeTypeIt)
	for state, want := range map[types.SpecState]int{
		types.SpecStatePassed: passedSpecs, types.SpecStateSkipped: skippedSpecs, types.SpecStatePending: pendingSpecs,
	} {
		if got := specs.CountWithState(state); got != want {
			t.Errorf("%d specs %s, want %d", got, state, want)
		}
	}
	if !t.Failed() {
		return
	}
	for _, s := range specs.WithState(types.SpecStateSkipped) {
		t.Logf("skipped: %s: %s", s.FullText(), s.FailureMessage())
	}
}

// start runs every part and waits until the server answers both services.
func start(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "sanity") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	s := &site{
		pool:             zfstest.New(t, poolSize, zfs.Config{}),
		dir:              dir,
		address:          freeAddress(t),
		controllerSocket: dir + "/controller.sock",
		nodeSocket:       dir + "/node.sock",
	}
	ctx, stop := context.WithCancel(context.Background())
	var parts []chan error
	t.Cleanup(func() {
		stop()
		for _, ended := range parts {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		_ = os.RemoveAll(filepath.Join(dir, "etcd"))
	})
	run := func(name string, part func(context.Context) error) {
		ended := make(chan error, 1)
		parts = append(parts, ended)
		go func() {
			err := part(ctx)
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			ended <- err
		}()
	}
	run("server", s.server(t).Run)
	s.waitFor(t, filepath.Join(dir, "etcd", "secret", "dotmesh-api-key.txt"))
	run("node", s.node(t).Run)
	run("controller", s.controller(t).Run)
	for _, socket := range []string{s.nodeSocket, s.controllerSocket} {
		s.waitReady(t, socket)
	}
	return s
}

func (s *site) server(t *testing.T) *server.Server {
	t.Helper()
	srv, err := server.New(server.Config{
		NodeName: nodeName,
		Pool:     server.PoolConfig{Root: s.pool.Name.String()},
		Etcd:     server.EtcdConfig{Embedded: filepath.Join(s.dir, "etcd")},
		Listen:   s.address,
		RunDir:   filepath.Join(s.dir, "run"),
		Version:  "sanity",
	})
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

func (s *site) controller(t *testing.T) *controller.Controller {
	t.Helper()
	trust, err := client.TrustCAFile(filepath.Join(s.dir, "etcd", "tls", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	servers, err := client.New(client.Config{
		Address: s.address, Trust: trust, User: "admin",
		APIKey: func() (string, error) {
			key, err := os.ReadFile(filepath.Join(s.dir, "etcd", "secret", "dotmesh-api-key.txt"))
			return strings.TrimSpace(string(key)), err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := controller.New(controller.Config{
		Socket: s.controllerSocket, ClusterName: cluster, Version: "sanity",
		Volumes: servers.Volumes, Server: servers.Server,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *site) node(t *testing.T) *node.Node {
	t.Helper()
	n, err := node.New(node.Config{
		Socket: s.nodeSocket, NodeName: nodeName, ClusterName: cluster, Version: "sanity",
		RunDir: filepath.Join(s.dir, "run"), Fence: s.pool.SetReadonly,
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const startTimeout = 2 * time.Minute

func (s *site) waitFor(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(100 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("the server made no API key: %v", err)
		}
	}
}

func (s *site) waitReady(t *testing.T, socket string) {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	for {
		res, err := csi.NewIdentityClient(conn).Probe(ctx, &csi.ProbeRequest{})
		if err == nil && res.GetReady().GetValue() {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s did not become ready: %v, %v", socket, res, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// leavesNothing waits until the suite's volumes and snapshots, which it deleted,
// are gone from the pool as well, and looks for mounts.
func (s *site) leavesNothing(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for {
		items, err := s.pool.List(ctx, s.pool.Root(), zfs.ListOptions{Depth: zfs.All, Properties: []zfs.Property{zfs.PropUsed}})
		if err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, item := range items {
			name := item.Target().String()
			if name != s.pool.Name.String() && name != s.pool.Name.String()+"/dotmesh" {
				left = append(left, name)
			}
		}
		if len(left) == 0 {
			break
		}
		select {
		case <-ctx.Done():
			t.Errorf("left on the pool: %v", left)
			return
		case <-time.After(5 * time.Second): // what is waited for needs the processor
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.HasPrefix(line, s.pool.Name.String()) {
			t.Errorf("left mounted: %s", line)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
