package store

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/embedded"
)

// shared is one etcd for the tests that do not stop it; each has a prefix of its
// own. It is started by the first that needs it.
var shared etcdOfAll

type etcdOfAll struct {
	once   sync.Once
	dir    string
	server *embedded.Server
	err    error
}

func (e *etcdOfAll) endpoint(t *testing.T) string {
	t.Helper()
	e.once.Do(func() {
		if e.dir, e.err = os.MkdirTemp("", "dotmesh-store-"); e.err == nil {
			e.server, e.err = embedded.Start(context.Background(), embedded.Config{Dir: e.dir, UnsafeNoFsync: true})
		}
	})
	if e.err != nil {
		t.Fatal(e.err)
	}
	return e.server.Endpoint()
}

func (e *etcdOfAll) close() {
	if e.server != nil {
		e.server.Close()
	}
	if e.dir != "" {
		os.RemoveAll(e.dir)
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	shared.close()
	os.Exit(code)
}

// open gives a store of its own on the shared etcd.
func open(t *testing.T) *Store {
	t.Helper()
	return openAt(t, Config{Endpoints: []string{shared.endpoint(t)}, Prefix: "/" + t.Name() + "/"})
}

// openOwn gives a store on an etcd that nobody else writes to or compacts.
func openOwn(t *testing.T) *Store {
	t.Helper()
	endpoint, _, _ := ownEtcd(t)
	return openAt(t, Config{Endpoints: []string{endpoint}})
}

func openAt(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := Open(within(t, 20*time.Second), cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// ownEtcd starts an etcd that the test may stop; start runs it again on the same
// data and socket.
func ownEtcd(t *testing.T) (endpoint string, stop, start func()) {
	t.Helper()
	// t.TempDir is too long for a socket, and not private.
	dir, err := os.MkdirTemp("", "dm-etcd-")
	if err != nil {
		t.Fatal(err)
	}
	var server *embedded.Server
	start = func() {
		t.Helper()
		if server, err = embedded.Start(within(t, time.Minute), embedded.Config{Dir: dir, UnsafeNoFsync: true}); err != nil {
			t.Fatal(err)
		}
	}
	stop = func() {
		if server != nil {
			server.Close()
			server = nil
		}
	}
	start()
	t.Cleanup(func() { stop(); os.RemoveAll(dir) })
	return server.Endpoint(), stop, start
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for something that happens by itself.
func eventually(t *testing.T, limit time.Duration, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, limit)
		}
	}
}

func wantCode(t *testing.T, err error, want dot.Code) {
	t.Helper()
	if err == nil || dot.CodeOf(err) != want {
		t.Fatalf("got error %v of code %d, want code %d", err, dot.CodeOf(err), want)
	}
}

func commit(t *testing.T, txn *Txn) {
	t.Helper()
	if err := txn.Commit(within(t, 10*time.Second)); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

func fullName(t *testing.T, namespace, name string) dot.FullName {
	t.Helper()
	ns, err := dot.ParseNamespace(namespace)
	if err != nil {
		t.Fatal(err)
	}
	n, err := dot.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	return dot.FullName{Namespace: ns, Name: n}
}

func branchName(t *testing.T, s string) dot.BranchName {
	t.Helper()
	n, err := dot.ParseBranchName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// everything is every key below the store's own prefix.
var everything = Prefix{}

func aClaim(t *testing.T) dot.ClaimID {
	t.Helper()
	id, err := dot.ParseClaimID("11111111-2222-4333-8444-555555555555")
	if err != nil {
		t.Fatal(err)
	}
	return id
}
