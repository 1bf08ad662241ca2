//go:build zfs

package server_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
	"github.com/dotmesh-io/dotmesh-csi/pkg/server"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/embedded"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/zfstest"
)

const (
	node   = "node-a"
	apiKey = "an-api-key-for-this-test-only"
	gib    = int64(1) << 30
)

// machine is a pool and an etcd on which servers come and go.
type machine struct {
	t       *testing.T // who is told of failures
	top     *testing.T // whose end is the machine's
	pool    *zfstest.Pool
	etcd    *embedded.Server
	etcdDir string
	store   *store.Store // the test's own; see registry
	files   pki.Files
	secrets string
	runDir  string
	// jobs of the background that the last server has not done; nil: no server yet.
	jobs func() int
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, top: t, pool: zfstest.New(t, 1<<30, zfs.Config{}), runDir: t.TempDir(), secrets: t.TempDir(), etcdDir: shortTempDir(t)}
	m.startEtcd()
	t.Cleanup(func() { m.stopEtcd() })
	var err error
	if m.files, err = pki.EnsureDir(filepath.Join(t.TempDir(), "tls"), pki.LocalNames(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.secrets, "dotmesh-api-key.txt"), []byte(apiKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

// shortTempDir is a directory whose path leaves room for a socket's name.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (m *machine) startEtcd() {
	m.t.Helper()
	etcd, err := embedded.Start(context.Background(), embedded.Config{Dir: m.etcdDir, UnsafeNoFsync: true})
	if err != nil {
		m.t.Fatal(err)
	}
	m.etcd = etcd
}

func (m *machine) stopEtcd() {
	if m.store != nil {
		m.store.Close()
		m.store = nil
	}
	if m.etcd != nil {
		m.etcd.Close()
		m.etcd = nil
	}
}

// loseRegistry starts anew with an empty etcd.
func (m *machine) loseRegistry() {
	m.t.Helper()
	m.stopEtcd()
	if err := os.RemoveAll(m.etcdDir); err != nil {
		m.t.Fatal(err)
	}
	m.startEtcd()
}

// running is one server.
type running struct {
	*client.Client
	node dotmeshv1connect.NodeServiceClient
	stop func() // waits until it has stopped
	exit chan error
}

// recorder notes the crash points that a server passes.
type recorder struct {
	mu    sync.Mutex
	order []crash.Point
}

func (r *recorder) pass(_ context.Context, p crash.Point) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.order = append(r.order, p)
}

// points gives what was passed since the last call, without the lease's renewals,
// which come when they like.
func (r *recorder) points() []crash.Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	passed := slices.DeleteFunc(r.order, func(p crash.Point) bool { return strings.Contains(string(p), "lease-") })
	r.order = nil
	return passed
}

func (m *machine) config(hook crash.Hook) server.Config {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	endpoint := "unix://" + filepath.Join(m.etcdDir, "etcd.sock")
	return server.Config{
		NodeName: node, Pool: server.PoolConfig{Root: m.pool.Root().String()},
		Etcd: server.EtcdConfig{Endpoints: []string{endpoint}}, Listen: address,
		TLSCert: m.files.Cert, TLSKey: m.files.Key, SecretDir: m.secrets, RunDir: m.runDir, Crash: hook, Version: "test",
	}
}

// launch runs a server without waiting for it to be ready.
func (m *machine) launch(cfg server.Config) *running {
	m.t.Helper()
	s, err := server.New(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := m.connect(cfg)
	done := make(chan struct{})
	m.jobs = s.BackgroundJobs
	go func() {
		defer close(done)
		r.exit <- s.Run(ctx)
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			m.t.Error("the server did not stop")
		}
		r.Close()
	})
	m.t.Cleanup(r.stop)
	return r
}

// connect makes a client of the server that has, or will have, a configuration.
func (m *machine) connect(cfg server.Config) *running {
	m.t.Helper()
	trust, err := client.TrustCAFile(m.files.CA)
	if err != nil {
		m.t.Fatal(err)
	}
	c, err := client.New(client.Config{Address: cfg.Listen, Trust: trust, User: "admin", APIKey: func() (string, error) { return apiKey, nil }})
	if err != nil {
		m.t.Fatal(err)
	}
	return &running{Client: c, exit: make(chan error, 1)}
}

// start runs a server and waits until it is ready.
func (m *machine) start(hook crash.Hook) *running {
	m.t.Helper()
	return m.startWith(m.config(hook))
}

func (m *machine) startWith(cfg server.Config) *running {
	m.t.Helper()
	r := m.launch(cfg)
	m.awaitReady(r)
	return r
}

func (m *machine) awaitReady(r *running) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for {
		res, err := r.Server.GetStatus(ctx, connect.NewRequest(&v1.GetStatusRequest{}))
		if err == nil && res.Msg.Ready {
			r.node = client.NewNode(filepath.Join(m.runDir, res.Msg.PoolId, "node.sock"))
			return
		}
		select {
		case err := <-r.exit:
			m.t.Fatalf("the server stopped: %v", err)
		case <-ctx.Done():
			m.t.Fatalf("the server is not ready: %v, %v", res, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// state is what registry and pool hold, in a form that is the same for two runs
// of the same flow: ids that are random are left out.
func (m *machine) state() string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	lines, names := m.registry(ctx)
	lines = append(lines, m.datasets(ctx, names)...)
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// registry is the registry's part of the state, and what the branches are called
// in it.
func (m *machine) registry(ctx context.Context) ([]string, map[dot.BranchID]string) {
	m.t.Helper()
	if m.store == nil {
		opened, err := store.Open(ctx, store.Config{Endpoints: []string{m.etcd.Endpoint()}})
		if err != nil {
			m.t.Fatal(err)
		}
		m.store = opened
	}
	st := m.store
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	dots := all(ctx, m.t, st.ListDots)
	names := map[dot.ID]string{}
	for _, d := range dots {
		names[d.ID] = d.FullName.String()
		add("dot %s %s released=%t shares=%v subdots=%v", d.FullName, d.State, d.Released, d.Shares, d.Subdots)
	}
	branchNames := map[dot.BranchID]string{}
	for _, b := range all(ctx, m.t, st.ListAllBranches) {
		branchNames[b.ID] = names[b.Dot] + "@" + strings.Split(b.Name.String(), "-HIDDEN-")[0]
		add("branch %s %s hidden=%t readonly=%t origin=%t", branchNames[b.ID], b.State, b.Hidden, b.ReadOnly, b.Origin != nil)
	}
	for _, c := range all(ctx, m.t, st.ListAllCommits) {
		add("commit of %s csi=%q message=%q deleting=%t", branchNames[c.Branch], c.CSIName, c.Message, c.Deleting)
	}
	for _, v := range all(ctx, m.t, st.ListAllVolumes) {
		add("volume %q of %s.%s %s size=%d published=%d", v.CSIName, branchNames[v.Branch], v.Subdot, v.State, v.SizeBytes, len(v.Publications))
	}
	for _, i := range all(ctx, m.t, st.ListIntents) {
		add("intent %q", i.Commit.CSIName)
	}
	for _, s := range all(ctx, m.t, st.ListTombstones) {
		add("tombstone of %s", branchNames[s.Branch])
	}
	snapshots, _, err := st.ListSnapshots(ctx, "", 0)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, s := range snapshots {
		add("snapshot %q", s.Value.CSIName)
	}
	return lines, branchNames
}

// settled waits until the background is done and gives the state. What a
// VolumeSnapshot keeps stays hidden, so that the state is done when it rests.
func (m *machine) settled() string {
	m.t.Helper()
	const pause, rest = 500 * time.Millisecond, 2
	last, same := "", 0
	for range 100 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		lines, _ := m.registry(ctx)
		cancel()
		slices.Sort(lines)
		now := strings.Join(lines, "\n")
		if same++; now != last || m.jobs != nil && m.jobs() > 0 {
			same = 0
		}
		if last = now; same == rest {
			break
		}
		time.Sleep(pause)
	}
	return m.state()
}

// becomes waits until the state is as wanted. The pool is looked at only once the
// registry is.
func (m *machine) becomes(what, want string) {
	m.t.Helper()
	m.eventually(what, func() string {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		lines, _ := m.registry(ctx)
		for line := range strings.Lines(want) {
			lines = slices.DeleteFunc(lines, func(l string) bool { return l == strings.TrimSuffix(line, "\n") })
		}
		if len(lines) == 0 {
			if got := m.state(); got != want {
				return "got\n" + got + "\nwant\n" + want
			}
			return ""
		}
		return "got, beside what is wanted,\n" + strings.Join(lines, "\n") + "\nwant\n" + want
	})
}

func all[T any](ctx context.Context, t *testing.T, list func(context.Context) ([]store.Record[T], error)) []T {
	t.Helper()
	records, err := list(ctx)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]T, len(records))
	for i, r := range records {
		values[i] = r.Value
	}
	return values
}

// datasets lists what lies on the pool below the root, with the number of
// snapshots of each, and the volumes that it knows of.
func (m *machine) datasets(ctx context.Context, names map[dot.BranchID]string) []string {
	m.t.Helper()
	items, err := m.pool.List(ctx, m.pool.Root(), zfs.ListOptions{Depth: zfs.All})
	if err != nil {
		m.t.Fatal(err)
	}
	snapshots, properties := map[string]int{}, map[string]int{}
	for _, i := range items {
		if i.Kind == zfs.KindSnapshot {
			snapshots[i.Dataset.String()]++
			continue
		}
		for name := range i.Values {
			if strings.HasPrefix(string(name), "io.dotmesh:volume.") {
				properties[i.Dataset.String()]++
			}
		}
	}
	var lines []string
	for _, i := range items {
		if i.Kind != zfs.KindFilesystem || i.Dataset == m.pool.Root() {
			continue
		}
		name := i.Dataset.Base()
		if id, err := dot.ParseBranchID(name); err == nil && names[id] != "" {
			name = names[id]
		}
		d := i.Dataset.String()
		lines = append(lines, fmt.Sprintf("dataset %s snapshots=%d volumes=%d", name, snapshots[d], properties[d]))
	}
	return lines
}

// eventually waits for background work.
func (m *machine) eventually(what string, want func() string) {
	m.t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for {
		got := want()
		if got == "" {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%s: %s", what, got)
		}
		time.Sleep(300 * time.Millisecond)
	}
}
