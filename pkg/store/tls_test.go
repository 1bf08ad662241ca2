package store

import (
	"context"
	"crypto/tls"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// tlsEtcd starts an etcd that wants client certificates of the CA, on a port of
// its own.
func tlsEtcd(t *testing.T, ca *pki.CA) string {
	t.Helper()
	dir := t.TempDir()
	pair, err := ca.IssueServer(pki.LocalNames(), pki.LeafValidity, time.Now())
	files := writePair(t, dir, ca, pair, err)
	c := embed.NewConfig()
	c.Dir = filepath.Join(dir, "data")
	c.UnsafeNoFsync = true
	c.ListenPeerUrls = nil
	c.ListenClientUrls = []url.URL{{Scheme: "https", Host: "127.0.0.1:0"}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	c.ClientTLSInfo = transport.TLSInfo{CertFile: files.CertFile, KeyFile: files.KeyFile, TrustedCAFile: files.CAFile, ClientCertAuth: true}
	c.EnableGRPCGateway = false
	c.TickMs, c.ElectionMs = 50, 500
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	select {
	case <-etcd.Server.ReadyNotify():
	case <-time.After(30 * time.Second):
		t.Fatal("etcd is not ready")
	}
	return "https://" + etcd.Clients[0].Addr().String()
}

func writePair(t *testing.T, dir string, ca *pki.CA, pair pki.Pair, err error) TLS {
	t.Helper()
	files := TLS{CAFile: filepath.Join(dir, "ca.crt"), CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	for path, content := range map[string][]byte{files.CAFile: ca.CertPEM(), files.CertFile: pair.Cert, files.KeyFile: pair.Key} {
		if err == nil {
			err = os.WriteFile(path, content, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func newCA(t *testing.T) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newCA(t), newCA(t)
	endpoint := tlsEtcd(t, ours)
	now := time.Now()
	good, err := ours.IssueClient("server", pki.RoleEtcd, pki.LeafValidity, now)
	foreign, err2 := theirs.IssueClient("server", pki.RoleEtcd, pki.LeafValidity, now)
	expired, err3 := ours.IssueClient("server", pki.RoleEtcd, time.Hour, now.Add(-2*time.Hour))
	notClient, err4 := ours.IssueServer(pki.LocalNames(), pki.LeafValidity, now)
	for _, err := range []error{err, err2, err3, err4} {
		if err != nil {
			t.Fatal(err)
		}
	}
	bare := writePair(t, t.TempDir(), ours, good, nil)
	bare.CertFile, bare.KeyFile = "", ""
	for name, files := range map[string]TLS{
		"client of another CA":       writePair(t, t.TempDir(), ours, foreign, nil),
		"expired client certificate": writePair(t, t.TempDir(), ours, expired, nil),
		"server certificate":         writePair(t, t.TempDir(), ours, notClient, nil),
		"no client certificate":      bare,
		"etcd of another CA":         writePair(t, t.TempDir(), theirs, good, nil),
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := Open(context.Background(), Config{Endpoints: []string{endpoint}, TLS: &files, DialTimeout: 2 * time.Second})
			want := dot.CodeUnavailable
			if name == "expired client certificate" {
				want = dot.CodePrecondition
			}
			wantCode(t, err, want)
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("it took %s", took)
			}
			if !strings.Contains(err.Error(), "certificate") {
				t.Errorf("the error does not speak of a certificate: %v", err)
			}
		})
	}
	t.Run("right", func(t *testing.T) {
		s := openAt(t, Config{Endpoints: []string{endpoint}, TLS: ptr(writePair(t, t.TempDir(), ours, good, nil))})
		commit(t, s.Txn().PutPool(dot.Pool{ID: dot.PoolIDOf(1)}))
	})
	t.Run("plain text", func(t *testing.T) {
		_, err := Open(context.Background(), Config{Endpoints: []string{strings.Replace(endpoint, "https", "http", 1)}, DialTimeout: time.Second})
		wantCode(t, err, dot.CodeUnavailable)
	})
}

func TestCertificatesAreReadForEachConnection(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	now := time.Now()
	first, err := ca.IssueClient("first", pki.RoleEtcd, pki.LeafValidity, now)
	second, err2 := ca.IssueClient("second", pki.RoleEtcd, pki.LeafValidity, now)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	dir := t.TempDir()
	files := writePair(t, dir, ca, first, nil)
	if _, err := files.credentials(); err != nil {
		t.Fatal(err)
	}
	writePair(t, dir, ca, second, nil)
	cfg, err := files.config()
	if err != nil {
		t.Fatal(err)
	}
	want, err := tls.X509KeyPair(second.Cert, second.Key)
	if err != nil || string(cfg.Certificates[0].Certificate[0]) != string(want.Certificate[0]) {
		t.Errorf("the renewed certificate is not used (%v)", err)
	}
}

func ptr[T any](v T) *T { return &v }
