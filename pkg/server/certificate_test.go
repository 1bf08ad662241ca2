package server

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// caOf loads the CA that signed a server's files (pki.EnsureDir).
func caOf(t *testing.T, files pki.Files) *pki.CA {
	t.Helper()
	cert, err1 := os.ReadFile(files.CA)
	key, err2 := os.ReadFile(filepath.Join(filepath.Dir(files.CA), pki.CAKeyFile))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	ca, err := pki.LoadCA(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// install puts a certificate in the place of a server's, as a Secret that changes.
func install(t *testing.T, files pki.Files, pair pki.Pair) {
	t.Helper()
	if err := errors.Join(os.WriteFile(files.Key, pair.Key, 0o600), os.WriteFile(files.Cert, pair.Cert, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// TestExpiredServerCertificate is refused by those who trust its CA and by those
// who pinned a key, with the reason; a renewed one is used without a restart.
func TestExpiredServerCertificate(t *testing.T) {
	address, files := starting(t)
	ca, now := caOf(t, files), time.Now()
	trust, err := client.TrustCAFile(files.CA)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(trust client.Trust) error {
		t.Helper() // a connection of its own, because those that are open stay
		return listDots(t, caller(t, client.Config{Address: address, Trust: trust, User: "admin"}, testKey))
	}
	block, _ := pem.Decode(ca.CertPEM())
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	trusts := map[string]client.Trust{"CA": trust, "pinned CA": {Fingerprint: client.FingerprintOf(root)}}
	answered := func(when string) {
		t.Helper()
		for how, trust := range trusts {
			if err := ask(trust); dot.CodeOf(err) != dot.CodeUnavailable || err == nil || !strings.Contains(err.Error(), "starting") {
				t.Errorf("%s, by %s: got %v, want the server's own answer", when, how, err)
			}
		}
	}
	answered("a certificate that is valid")
	open := caller(t, client.Config{Address: address, Trust: trust, User: "admin"}, testKey)
	if err := listDots(t, open); !strings.Contains(err.Error(), "starting") {
		t.Errorf("got %v", err)
	}

	for what, c := range map[string]struct {
		from    time.Time
		certain string // what a client says who trusts the CA
	}{
		"expired":       {now.Add(-48 * time.Hour), "expired"},
		"not valid yet": {now.Add(48 * time.Hour), "not yet valid"},
	} {
		pair, err := ca.IssueServer(pki.LocalNames(), time.Hour, c.from)
		if err != nil {
			t.Fatal(err)
		}
		install(t, files, pair)
		for how, says := range map[string]string{"CA": c.certain, "pinned CA": "valid only from"} {
			err := ask(trusts[how])
			if dot.CodeOf(err) != dot.CodeUnavailable || err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "starting") {
				t.Errorf("%s, by %s: got %v, want a refusal with %q", what, how, err, says)
			}
		}
	}

	renewed, err := ca.IssueServer(pki.LocalNames(), time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	install(t, files, renewed)
	answered("renewed")
	if err := listDots(t, open); !strings.Contains(err.Error(), "starting") {
		t.Errorf("a connection that was open all the time: got %v", err)
	}
}

// TestClientCertificatesOfServers: other servers show one. It opens nothing that is
// not asked for a key as well, and one that cannot be trusted is hung up on.
func TestClientCertificatesOfServers(t *testing.T) {
	address, files := startingWith(t, func(c *Config) { c.ClientCA = filepath.Join(filepath.Dir(c.TLSCert), pki.CAFile) })
	ca, now := caOf(t, files), time.Now()
	stranger, err := pki.NewCA("stranger", now)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what     string
		ca       *pki.CA
		role     pki.Role
		from     time.Time
		accepted bool
	}{
		{"valid", ca, pki.RoleServer, now, true},
		{"expired", ca, pki.RoleServer, now.Add(-48 * time.Hour), false},
		{"not valid yet", ca, pki.RoleServer, now.Add(48 * time.Hour), false},
		{"of another role", ca, pki.RoleEtcd, now, false},
		{"of another CA", stranger, pki.RoleServer, now, false},
	} {
		pair, err := c.ca.IssueClient("other", c.role, time.Hour, c.from)
		if err != nil {
			t.Fatal(err)
		}
		own, err := tls.X509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		// GetClientCertificate shows it whatever CA the server asks for.
		cfg := &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }}
		if err := answers(tls.Client(dialFrom(t, "127.0.0.1", address), cfg)); (err == nil) != c.accepted {
			t.Errorf("a certificate that is %s: got %v", c.what, err)
		}
	}
	if err := answers(tls.Client(dialFrom(t, "127.0.0.1", address), &tls.Config{InsecureSkipVerify: true})); err != nil {
		t.Errorf("none at all: got %v", err)
	}
}

// TestOperatorsCertificate: it stands for a key, for what is about servers alone.
func TestOperatorsCertificate(t *testing.T) {
	address, files := startingWith(t, func(c *Config) { c.ClientCA = filepath.Join(filepath.Dir(c.TLSCert), pki.CAFile) })
	ca := caOf(t, files)
	stranger, err := pki.NewCA("stranger", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what   string
		ca     *pki.CA
		role   pki.Role
		method string
		want   int // 0: hung up on
	}{
		{"operator", ca, pki.RoleOperator, "ServerService/GetStatus", http.StatusOK},
		{"operator", ca, pki.RoleOperator, "ServerService/Release", http.StatusOK},
		{"operator", ca, pki.RoleOperator, "DotService/ListDots", http.StatusForbidden},
		{"operator", ca, pki.RoleOperator, "VolumeService/ListVolumes", http.StatusForbidden},
		{"server", ca, pki.RoleServer, "ServerService/Release", http.StatusUnauthorized},
		{"another CA's operator", stranger, pki.RoleOperator, "ServerService/Release", 0},
	} {
		pair, err := c.ca.IssueClient("operator", c.role, time.Hour, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		own, err := tls.X509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil },
		}}}
		got := 0
		res, err := web.Post("https://"+address+"/dotmesh.v1."+c.method, "application/json", strings.NewReader("{}"))
		if err == nil {
			got = res.StatusCode
			_ = res.Body.Close()
		}
		if got != c.want {
			t.Errorf("%s, %s: got %d, %v, want %d", c.what, c.method, got, err, c.want)
		}
		web.CloseIdleConnections()
	}
}
