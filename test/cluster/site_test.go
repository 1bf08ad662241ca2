//go:build zfs

package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	clientv3 "go.etcd.io/etcd/client/v3"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
	"github.com/dotmesh-io/dotmesh-csi/pkg/server"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/embedded"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/zfstest"
)

const (
	volumeSize = 32 << 20
	apiKey     = "cluster-key-0123456789abcdef0123456789abcdef"
	poolSize   = 512 << 20
	patience   = 2 * time.Minute
)

// site is a registry with the certificates and keys that its servers share.
type site struct {
	t    *testing.T // at whose end everything goes
	dir  string
	etcd *embedded.Server
	keys *clientv3.Client
	ca   *pki.CA
}

// peerName is what the servers' certificates are for, as the Service's name is.
const peerName = "dotmesh.cluster.svc"

func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "cluster") // short: a socket's path has 107 bytes
	must(t, err)
	s := &site{t: t, dir: dir}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, d := range []string{"tls", "secret"} {
		must(t, os.Mkdir(s.path(d), 0o700))
	}
	s.etcd, err = embedded.Start(t.Context(), embedded.Config{Dir: s.path("etcd"), UnsafeNoFsync: true})
	must(t, err)
	t.Cleanup(s.etcd.Close)
	s.keys, err = clientv3.New(clientv3.Config{Endpoints: []string{s.etcd.Endpoint()}, DialTimeout: 10 * time.Second})
	must(t, err)
	t.Cleanup(func() { _ = s.keys.Close() })

	now := time.Now()
	ca, err := pki.NewCA("cluster", now)
	must(t, err)
	s.ca = ca
	// Not for the address: servers believe each other by the Service's name.
	pair, err := ca.IssueAPI(pki.Names{DNS: []string{peerName}}, time.Hour, now)
	must(t, err)
	for path, content := range map[string][]byte{
		"tls/tls.crt": pair.Cert, "tls/tls.key": pair.Key, "tls/ca.crt": ca.CertPEM(),
		"secret/dotmesh-api-key.txt": []byte(apiKey), "secret/dotmesh-admin-password.txt": []byte(apiKey),
	} {
		must(t, os.WriteFile(s.path(path), content, 0o600))
	}
	return s
}

func (s *site) path(elem ...string) string { return filepath.Join(append([]string{s.dir}, elem...)...) }

// registry gives the keys below a prefix.
func (s *site) registry(t *testing.T, prefix string) []string {
	t.Helper()
	answer, err := s.keys.Get(t.Context(), "/dotmesh/"+prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	must(t, err)
	var keys []string
	for _, kv := range answer.Kvs {
		keys = append(keys, string(kv.Key))
	}
	return keys
}

// member is one server with its pool. It can be started again after stop.
type member struct {
	site    *site
	node    string
	pool    *zfstest.Pool
	address string
	api     *client.Client
	stop    func() error
	// hook is called at each crash point that the server passes, if there is one.
	hook atomic.Pointer[crash.Hook]
}

// newMember makes a pool for a node and starts its server.
func (s *site) newMember(t *testing.T, node string, size int64) *member {
	t.Helper()
	m := &member{site: s, node: node, pool: zfstest.New(t, size, zfs.Config{})}
	m.start(t)
	m.waitReady(t)
	return m
}

// start runs the server until stop, or the end of the site's test.
func (m *member) start(t *testing.T) {
	t.Helper()
	s := m.site
	m.address = freeAddress(t)
	srv, err := server.New(server.Config{
		NodeName: m.node, Pool: server.PoolConfig{Root: m.pool.Name.String()},
		Etcd: server.EtcdConfig{Endpoints: []string{s.etcd.Endpoint()}}, Listen: m.address,
		Advertise: m.address, PeerName: peerName, ClientCA: s.path("tls/ca.crt"),
		TLSCert: s.path("tls/tls.crt"), TLSKey: s.path("tls/tls.key"), SecretDir: s.path("secret"),
		RunDir: s.path("run-" + m.node), Version: "cluster", Crash: m.pass,
	})
	must(t, err)
	trust, err := client.TrustCAFile(s.path("tls/ca.crt"))
	must(t, err)
	m.api, err = client.New(client.Config{
		Address: m.address, Trust: trust, ServerName: peerName, User: "admin", APIKey: func() (string, error) { return apiKey, nil },
	})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	stopped := false
	m.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	s.t.Cleanup(func() {
		if err := m.stop(); err != nil {
			s.t.Errorf("server of %s: %v", m.node, err)
		}
	})
}

func (m *member) pass(ctx context.Context, p crash.Point) {
	if hook := m.hook.Load(); hook != nil {
		hook.Pass(ctx, p)
	}
}

// waitReady answers when the server serves.
func (m *member) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, "the server of "+m.node+" is ready", func() error {
		status, err := m.api.Server.GetStatus(t.Context(), connect.NewRequest(&dotmeshv1.GetStatusRequest{}))
		if err == nil && !status.Msg.GetReady() {
			err = fmt.Errorf("not ready: %v", status.Msg.GetConditions())
		}
		return err
	})
}

// create asks this server for a volume; dot is "" for one of its own, and nodes are
// where a pod that wants it may run.
func (m *member) create(ctx context.Context, csiName, dot string, nodes ...string) (*dotmeshv1.Volume, error) {
	return m.createFrom(ctx, &dotmeshv1.CreateVolumeRequest{CsiName: csiName, DotName: dot, PreferredNodes: nodes})
}

// createFrom is create, of whatever else is asked for.
func (m *member) createFrom(ctx context.Context, req *dotmeshv1.CreateVolumeRequest) (*dotmeshv1.Volume, error) {
	req.RequiredBytes, req.DotNamespace, req.KubernetesNamespace = volumeSize, "admin", "shop"
	res, err := call(ctx, m.api.Volumes.CreateVolume, req)
	return res.GetVolume(), err
}

// call makes a call of the API.
func call[Q, R any](ctx context.Context, method func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), req *Q) (*R, error) {
	res, err := method(ctx, connect.NewRequest(req))
	if err != nil {
		return new(R), err
	}
	return res.Msg, nil
}

// branches are the datasets of the member's dots.
func (m *member) branches(t *testing.T) []string {
	t.Helper()
	root := m.pool.Name.String() + "/dotmesh"
	items, err := m.pool.List(t.Context(), m.pool.Root(), zfs.ListOptions{Depth: zfs.All, Properties: []zfs.Property{zfs.PropUsed}})
	must(t, err)
	var names []string
	for _, item := range items {
		if name := item.Target().String(); name != m.pool.Name.String() && name != root {
			names = append(names, name)
		}
	}
	return names
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}
