package pki

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// write puts a pair and its CA into a directory.
func write(t *testing.T, dir string, ca *CA, pair Pair, err error) Files {
	t.Helper()
	files := Files{CA: filepath.Join(dir, CAFile), Cert: filepath.Join(dir, CertFile), Key: filepath.Join(dir, "tls.key")}
	for path, content := range map[string][]byte{files.CA: ca.CertPEM(), files.Cert: pair.Cert, files.Key: pair.Key} {
		if err == nil {
			err = writeFile(path, content)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// handshake connects the two and gives what the client saw of the server, and
// the first error of either.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		served <- tls.Server(conn, server).Handshake()
	}()
	raw, err := net.DialTimeout("tcp", l.Addr().String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Client(raw, client)
	err = conn.Handshake()
	return conn.ConnectionState(), errors.Join(err, <-served)
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestConnections(t *testing.T) {
	now := time.Now()
	ours, theirs := newCA(t, now), newCA(t, now)
	issueServer := func(ca *CA) (Pair, error) { return ca.IssueServer(LocalNames(), LeafValidity, now) }
	pair, err := issueServer(ours)
	serverFiles := write(t, t.TempDir(), ours, pair, err)
	server := must[*tls.Config](t)(serverFiles.ServerConfig(RoleServer))
	client := func(ca, trusted *CA, role Role) Files {
		pair, err := ca.IssueClient("client", role, LeafValidity, now)
		return write(t, t.TempDir(), trusted, pair, err)
	}
	bare := client(ours, ours, RoleServer)
	bare.Cert, bare.Key = "", ""
	for _, tt := range []struct {
		what  string
		files Files
		name  string
		want  string // part of the error, "" for none
	}{
		{"right", client(ours, ours, RoleServer), "localhost", ""},
		{"by address", client(ours, ours, RoleServer), "127.0.0.1", ""},
		{"without certificate", bare, "localhost", ""},
		{"another name", bare, "elsewhere", "elsewhere"},
		{"another address", bare, "10.0.0.1", "10.0.0.1"},
		{"another role", client(ours, ours, RoleEtcd), "localhost", "dotmesh-etcd"},
		{"client of another CA", client(theirs, ours, RoleServer), "localhost", "authority"},
		{"server of another CA", client(ours, theirs, RoleServer), "localhost", "authority"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			_, err := handshake(t, server, must[*tls.Config](t)(tt.files.ClientConfig(tt.name)))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("expired", func(t *testing.T) {
		pair, err := ours.IssueServer(LocalNames(), time.Minute, now.Add(-time.Hour))
		old := must[*tls.Config](t)(write(t, t.TempDir(), ours, pair, err).ServerConfig())
		if _, err := handshake(t, old, must[*tls.Config](t)(bare.ClientConfig("localhost"))); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("got %v, want that it has expired", err)
		}
	})
}

func TestRenewedFilesAreUsed(t *testing.T) {
	now := time.Now()
	old, renewed := newCA(t, now), newCA(t, now)
	dir := t.TempDir()
	pair, err := old.IssueServer(LocalNames(), LeafValidity, now)
	files := write(t, dir, old, pair, err)
	server := must[*tls.Config](t)(files.ServerConfig())
	client := must[*tls.Config](t)(Files{CA: files.CA}.ClientConfig("localhost"))
	before, err := handshake(t, server, client)
	if err != nil {
		t.Fatal(err)
	}

	// Half of a change: what was there stays in use.
	if err := os.WriteFile(files.Cert, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := handshake(t, server, client); err != nil {
		t.Errorf("with half of the files changed: %v", err)
	}
	pair, err = renewed.IssueServer(LocalNames(), LeafValidity, now)
	write(t, dir, renewed, pair, err)
	after, err := handshake(t, server, client)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Fingerprint(after.PeerCertificates[1]), Fingerprint(renewed.cert); got != want || Fingerprint(before.PeerCertificates[1]) != Fingerprint(old.cert) {
		t.Errorf("got a server of CA %s, want %s", got, want)
	}
	// Gone files, as while a Secret is swapped, do no harm either.
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	if _, err := handshake(t, server, client); err != nil {
		t.Errorf("with a file gone: %v", err)
	}
}

func TestUnusableFilesAreRefusedAtOnce(t *testing.T) {
	now := time.Now()
	ca := newCA(t, now)
	pair, err := ca.IssueServer(LocalNames(), LeafValidity, now)
	files := write(t, t.TempDir(), ca, pair, err)
	other, err := ca.IssueServer(LocalNames(), LeafValidity, now)
	otherFiles := write(t, t.TempDir(), ca, other, err)
	for name, f := range map[string]Files{
		"no key":       {CA: files.CA, Cert: files.Cert},
		"another key":  {CA: files.CA, Cert: files.Cert, Key: otherFiles.Key},
		"no such file": {CA: files.CA, Cert: files.Cert + "x", Key: files.Key},
		"CA is a key":  {CA: files.Key, Cert: files.Cert, Key: files.Key},
	} {
		if _, err := f.ServerConfig(); err == nil {
			t.Errorf("%s: the server accepts", name)
		}
		if _, err := f.ClientConfig("localhost"); err == nil {
			t.Errorf("%s: the client accepts", name)
		}
	}
	if _, err := files.ClientConfig(""); err == nil {
		t.Error("a client without a server's name")
	}
}
