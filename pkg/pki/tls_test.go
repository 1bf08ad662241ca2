package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
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

// clientOf is a client that shows the files' certificate, if they have one, whoever
// the server would take it from.
func clientOf(t *testing.T, files Files) *tls.Config {
	t.Helper()
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "localhost", RootCAs: x509.NewCertPool()}
	if !cfg.RootCAs.AppendCertsFromPEM(must[[]byte](t)(os.ReadFile(files.CA))) {
		t.Fatal("no CA")
	}
	if files.Cert != "" {
		own := must[tls.Certificate](t)(tls.LoadX509KeyPair(files.Cert, files.Key))
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
	}
	return cfg
}

func TestConnections(t *testing.T) {
	now := time.Now()
	ours, theirs := newCA(t, now), newCA(t, now)
	pair, err := ours.IssueServer(LocalNames(), LeafValidity, now)
	serverFiles := write(t, t.TempDir(), ours, pair, err)
	server := must[*tls.Config](t)(serverFiles.ServerConfig(RoleServer))
	client := func(ca *CA, role Role) Files {
		pair, err := ca.IssueClient("client", role, LeafValidity, now)
		return write(t, t.TempDir(), ours, pair, err)
	}
	bare := client(ours, RoleServer)
	bare.Cert, bare.Key = "", ""
	for _, tt := range []struct {
		what  string
		files Files
		want  string // part of the error, "" for none
	}{
		{"right", client(ours, RoleServer), ""},
		{"without certificate", bare, ""},
		{"another role", client(ours, RoleEtcd), "dotmesh-etcd"},
		{"client of another CA", client(theirs, RoleServer), "authority"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			_, err := handshake(t, server, clientOf(t, tt.files))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestRenewedFilesAreUsed(t *testing.T) {
	now := time.Now()
	old, renewed := newCA(t, now), newCA(t, now)
	dir := t.TempDir()
	pair, err := old.IssueServer(LocalNames(), LeafValidity, now)
	files := write(t, dir, old, pair, err)
	server := must[*tls.Config](t)(files.ServerConfig())
	client := clientOf(t, Files{CA: files.CA})
	client.RootCAs.AddCert(renewed.cert)
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
	}
}

func TestClientConfig(t *testing.T) {
	now := time.Now()
	ca := newCA(t, now)
	pair, err := ca.IssueServer(LocalNames(), LeafValidity, now)
	serverFiles := write(t, t.TempDir(), ca, pair, err)
	server := must[*tls.Config](t)(serverFiles.ServerConfig(RoleOperator))
	shown, err := ca.IssueClient("operator", RoleOperator, LeafValidity, now)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{CAFile: ca.CertPEM(), CertFile: shown.Cert, KeyFile: shown.Key}
	client := must[*tls.Config](t)(ClientConfig(files))
	client.ServerName = "localhost"
	if _, err := handshake(t, server, client); err != nil {
		t.Error(err)
	}
	for _, name := range []string{CAFile, CertFile, KeyFile} {
		without := maps.Clone(files)
		delete(without, name)
		if _, err := ClientConfig(without); err == nil {
			t.Errorf("accepted without %s", name)
		}
	}
}
