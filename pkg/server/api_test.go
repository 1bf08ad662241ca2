package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

const testKey = "a-key-for-this-test"

// starting serves the API of a server that has neither registry nor pool yet.
func starting(t *testing.T) (address string, files pki.Files) {
	t.Helper()
	return startingWith(t, func(*Config) {})
}

func startingWith(t *testing.T, change func(*Config)) (address string, files pki.Files) {
	t.Helper()
	secrets := t.TempDir()
	put(t, secrets, apiKeyFile, testKey)
	files, err := pki.EnsureDir(filepath.Join(t.TempDir(), "tls"), pki.LocalNames(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		NodeName: "n", Pool: PoolConfig{Root: "pool"}, Etcd: EtcdConfig{Endpoints: []string{"http://127.0.0.1:1"}},
		Listen: "127.0.0.1:0", TLSCert: files.Cert, TLSKey: files.Key, SecretDir: secrets, RunDir: t.TempDir(), Version: "v",
	}
	change(&cfg)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	tlsConfig, secretDir, err := s.identity(ctx)
	if err != nil {
		t.Fatal(err)
	}
	l, err := listenTLS(ctx, s.cfg.Listen, tlsConfig)
	if err != nil {
		t.Fatal(err)
	}
	auth := newAuthenticator(secretDir, s.findUser)
	auth.delay = func(context.Context) {}
	e := newEndpoint(ctx, "api", l, s.api(auth))
	done := make(chan error, 1)
	go func() { done <- e.serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), files
}

func caller(t *testing.T, cfg client.Config, key string) *client.Client {
	t.Helper()
	cfg.APIKey = func() (string, error) { return key, nil }
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func listDots(t *testing.T, c *client.Client) error {
	t.Helper()
	_, err := c.Dots.ListDots(t.Context(), connect.NewRequest(&v1.ListDotsRequest{}))
	return err
}

func TestAPIWhileTheServerStarts(t *testing.T) {
	address, files := starting(t)
	trust, err := client.TrustCAFile(files.CA)
	if err != nil {
		t.Fatal(err)
	}
	c := caller(t, client.Config{Address: address, Trust: trust, User: "admin"}, testKey)
	status, err := c.Server.GetStatus(t.Context(), connect.NewRequest(&v1.GetStatusRequest{}))
	if err != nil || status.Msg.Ready {
		t.Errorf("got %v, %v", status, err)
	}
	if err := listDots(t, c); dot.CodeOf(err) != dot.CodeUnavailable || !strings.Contains(err.Error(), "starting") {
		t.Errorf("got %v, want CodeUnavailable", err)
	}
	plainGet(t, address, "/healthz", http.StatusOK)
	plainGet(t, address, "/readyz", http.StatusServiceUnavailable)
	plainGet(t, address, "/metrics", http.StatusUnauthorized)
	plainGet(t, address, "/anything", http.StatusUnauthorized)
}

func TestAPIRefusesStrangers(t *testing.T) {
	address, files := starting(t)
	trust, err := client.TrustCAFile(files.CA)
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []struct{ user, key string }{{"admin", "wrong"}, {"", ""}, {"admin", ""}, {"../x", testKey}} {
		c := caller(t, client.Config{Address: address, Trust: trust, User: who.user}, who.key)
		if err := listDots(t, c); dot.CodeOf(err) != dot.CodeUnauthenticated {
			t.Errorf("%+v: got %v", who, err)
		}
	}
	other := caller(t, client.Config{Address: address, Trust: client.Trust{Fingerprint: strings.Repeat("00", 32)}, User: "admin"}, testKey)
	var mismatch *client.ErrFingerprint
	if err := listDots(t, other); !errors.As(err, &mismatch) || mismatch.Got == "" {
		t.Errorf("another fingerprint: got %v", err)
	}
	pinned := caller(t, client.Config{Address: address, Trust: client.Trust{Fingerprint: mismatch.Got}, User: "admin"}, testKey)
	if err := listDots(t, pinned); dot.CodeOf(err) != dot.CodeUnavailable {
		t.Errorf("the right fingerprint: got %v", err)
	}
	stranger, err := pki.EnsureDir(filepath.Join(t.TempDir(), "other"), pki.LocalNames(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	wrongCA, err := client.TrustCAFile(stranger.CA)
	if err != nil {
		t.Fatal(err)
	}
	if err := listDots(t, caller(t, client.Config{Address: address, Trust: wrongCA, User: "admin"}, testKey)); dot.CodeOf(err) != dot.CodeUnavailable {
		t.Errorf("another CA: got %v", err)
	}
}

func TestGarbageOnThePortDoesNoHarm(t *testing.T) {
	address, files := starting(t)
	trust, err := client.TrustCAFile(files.CA)
	if err != nil {
		t.Fatal(err)
	}
	d := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // the test is of what comes after
	for _, text := range []string{"\x00\x01\x02 nonsense\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage", strings.Repeat("x", 1<<20)} {
		c, err := d.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(text))
		_ = c.Close()
		plain, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = plain.Write([]byte(text))
		_ = plain.Close()
	}
	c := caller(t, client.Config{Address: address, Trust: trust, User: "admin"}, testKey)
	if err := listDots(t, c); dot.CodeOf(err) != dot.CodeUnavailable {
		t.Errorf("after garbage: got %v", err)
	}
	_, err = c.Dots.Commit(t.Context(), connect.NewRequest(&v1.CommitRequest{Dot: "x", Message: strings.Repeat("x", maxBody)}))
	if dot.CodeOf(err) != dot.CodeExhausted {
		t.Errorf("a message that is too large: got %v", err)
	}
}

func plainGet(t *testing.T, address, path string, want int) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 30 * time.Second}
	defer c.CloseIdleConnections()
	res, err := c.Get("https://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != want {
		t.Errorf("%s: got %d %s, %v, want %d", path, res.StatusCode, body, err, want)
	}
}
