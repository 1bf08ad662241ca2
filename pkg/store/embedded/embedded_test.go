package embedded

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// shortDir is private, and short enough for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dm-emb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func client(t *testing.T, s *Server) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestDataOutlivesTheServer(t *testing.T) {
	dir := filepath.Join(shortDir(t), "etcd")
	first, err := Start(within(t), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, first).Put(within(t), "key", "value"); err != nil {
		t.Fatal(err)
	}
	first.Close()
	// What a killed server leaves must not be in the way.
	if err := os.WriteFile(filepath.Join(dir, "etcd.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := Start(within(t), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	got, err := client(t, second).Get(within(t), "key")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "value" {
		t.Errorf("got %v, %v", got, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got mode %v (%v), want 0700", info.Mode(), err)
	}
}

func TestOneServerForADirectory(t *testing.T) {
	dir := shortDir(t)
	s, err := Start(within(t), Config{Dir: dir, UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = Start(within(t), Config{Dir: dir, UnsafeNoFsync: true})
	if dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("a second server: got %v, want CodePrecondition", err)
	}
	if _, err := client(t, s).Put(within(t), "key", "value"); err != nil {
		t.Errorf("the first server was disturbed: %v", err)
	}
}

func TestBadDirectoriesAreRefused(t *testing.T) {
	open := shortDir(t)
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"readable by others": {Dir: open},
		"long socket":        {Dir: shortDir(t), Socket: "/tmp/" + strings.Repeat("x", 120)},
		"relative socket":    {Dir: shortDir(t), Socket: "etcd.sock"},
		"socket's directory": {Dir: shortDir(t), Socket: filepath.Join(open, "s")},
	} {
		if s, err := Start(within(t), cfg); err == nil {
			s.Close()
			t.Errorf("%s: was accepted", name)
		}
	}
}

func TestDamagedDataIsAnErrorInTime(t *testing.T) {
	dir := shortDir(t)
	if err := os.MkdirAll(filepath.Join(dir, "data", "member", "snap"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "member", "snap", "db"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.MkdirAll(filepath.Join(dir, "data", "member", "wal"), 0o700)
	s, err := Start(within(t), Config{Dir: dir, StartTimeout: 10 * time.Second})
	if err == nil {
		s.Close()
		t.Fatal("was accepted")
	}
}

func TestOnlyTheSocketIsOpen(t *testing.T) {
	s, err := Start(within(t), Config{Dir: shortDir(t), UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.etcd.Peers) != 0 || len(s.etcd.Clients) != 1 || s.etcd.Clients[0].Addr().Network() != "unix" {
		t.Errorf("got listeners %v and %v, want one socket", s.etcd.Peers, s.etcd.Clients)
	}
}
