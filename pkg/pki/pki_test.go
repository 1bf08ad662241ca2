package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2031, 2, 3, 12, 0, 0, 0, time.UTC)

func newCA(t *testing.T, now time.Time) *CA {
	t.Helper()
	ca, err := NewCA("dotmesh", now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// leafOf parses a pair as a TLS stack would.
func leafOf(t *testing.T, pair Pair, err error) *x509.Certificate {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Certificate) != 2 {
		t.Errorf("got a chain of %d, want the leaf and its CA", len(loaded.Certificate))
	}
	return loaded.Leaf
}

func verify(ca *CA, cert *x509.Certificate, name string, now time.Time, use x509.ExtKeyUsage) error {
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	_, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}})
	return err
}

func TestCA(t *testing.T) {
	ca := newCA(t, noon)
	if c := ca.cert; !c.IsCA || !c.MaxPathLenZero || c.KeyUsage&x509.KeyUsageCertSign == 0 || len(c.ExtKeyUsage) != 0 {
		t.Errorf("got %+v, want a CA for leaves", c)
	}
	if years := ca.cert.NotAfter.Sub(noon).Hours() / 24 / 365; years != 10 {
		t.Errorf("got a CA of %v years, want 10", years)
	}
	if key, ok := ca.cert.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("got a key %T, want ECDSA P-256", ca.cert.PublicKey)
	}
	if other := newCA(t, noon); other.cert.SerialNumber.Cmp(ca.cert.SerialNumber) == 0 || ca.cert.SerialNumber.BitLen() < 64 || Fingerprint(other.cert) == Fingerprint(ca.cert) {
		t.Error("two CAs are alike, or their serial numbers are not random")
	}
}

func TestCALoadsBack(t *testing.T) {
	ca, other := newCA(t, noon), newCA(t, noon)
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadCA(ca.CertPEM(), key)
	if err != nil || Fingerprint(loaded.cert) != Fingerprint(ca.cert) {
		t.Fatalf("got %v", err)
	}
	pair, err := loaded.IssueServer(Names{DNS: []string{"a"}}, LeafValidity, noon)
	if err := verify(ca, leafOf(t, pair, err), "a", noon, x509.ExtKeyUsageServerAuth); err != nil {
		t.Error(err)
	}
	otherKey, _ := other.KeyPEM()
	for name, texts := range map[string][2][]byte{
		"nothing": {}, "another key": {ca.CertPEM(), otherKey}, "swapped": {key, ca.CertPEM()},
		"a leaf": {pair.Cert, pair.Key}, "garbage": {[]byte("x"), []byte("y")},
		"damaged key": {ca.CertPEM(), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")},
	} {
		_, err := LoadCA(texts[0], texts[1])
		if err == nil {
			t.Errorf("%s: was accepted", name)
		} else if strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%s: the error tells of the key: %v", name, err)
		}
	}
}

func TestLeaves(t *testing.T) {
	ca := newCA(t, noon)
	names := Names{DNS: []string{"dotmesh", "*.dotmesh.svc"}, IPs: []net.IP{net.IPv4(10, 0, 0, 1)}}
	server := func() *x509.Certificate {
		p, err := ca.IssueServer(names, LeafValidity, noon)
		return leafOf(t, p, err)
	}()
	peer := func() *x509.Certificate { p, err := ca.IssuePeer(names, LeafValidity, noon); return leafOf(t, p, err) }()
	client := func() *x509.Certificate {
		p, err := ca.IssueClient("server-1", RoleServer, LeafValidity, noon)
		return leafOf(t, p, err)
	}()
	later := noon.Add(LeafValidity + time.Second)
	for _, tt := range []struct {
		what string
		cert *x509.Certificate
		name string
		now  time.Time
		use  x509.ExtKeyUsage
		ok   bool
	}{
		{"server by name", server, "dotmesh", noon, x509.ExtKeyUsageServerAuth, true},
		{"server by pattern", server, "a.dotmesh.svc", noon, x509.ExtKeyUsageServerAuth, true},
		{"server by address", server, "10.0.0.1", noon, x509.ExtKeyUsageServerAuth, true},
		{"server by another name", server, "other", noon, x509.ExtKeyUsageServerAuth, false},
		{"server as client", server, "", noon, x509.ExtKeyUsageClientAuth, false},
		{"server a year later", server, "dotmesh", later, x509.ExtKeyUsageServerAuth, false},
		{"server of a clock behind", server, "dotmesh", noon.Add(-30 * time.Minute), x509.ExtKeyUsageServerAuth, true},
		{"peer as server", peer, "dotmesh", noon, x509.ExtKeyUsageServerAuth, true},
		{"peer as client", peer, "", noon, x509.ExtKeyUsageClientAuth, true},
		{"client", client, "", noon, x509.ExtKeyUsageClientAuth, true},
		{"client as server", client, "", noon, x509.ExtKeyUsageServerAuth, false},
		{"client a year later", client, "", later, x509.ExtKeyUsageClientAuth, false},
	} {
		if err := verify(ca, tt.cert, tt.name, tt.now, tt.use); (err == nil) != tt.ok {
			t.Errorf("%s: got %v, want ok %v", tt.what, err, tt.ok)
		}
	}
	if server.IsCA || server.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("got a leaf %+v", server)
	}
	if err := RequireRole(client, RoleEtcd, RoleServer); err != nil {
		t.Error(err)
	}
	for _, cert := range []*x509.Certificate{client, server} {
		if err := RequireRole(cert, RoleEtcd); err == nil {
			t.Errorf("%q passed as %s", cert.Subject, RoleEtcd)
		}
	}
	if err := RequireRole(client); err == nil {
		t.Error("a role passed where none may")
	}
}

func TestLeavesThatCannotBe(t *testing.T) {
	ca := newCA(t, noon)
	for name, issue := range map[string]func() (Pair, error){
		"no name":   func() (Pair, error) { return ca.IssueServer(Names{}, LeafValidity, noon) },
		"no client": func() (Pair, error) { return ca.IssueClient("", RoleEtcd, LeafValidity, noon) },
		"no time":   func() (Pair, error) { return ca.IssueClient("a", RoleEtcd, 0, noon) },
		"ended CA": func() (Pair, error) {
			return ca.IssueClient("a", RoleEtcd, LeafValidity, noon.Add(caValidity+time.Hour))
		},
		"bad pattern": func() (Pair, error) { return ca.IssueServer(Names{DNS: []string{"a\x00b"}}, LeafValidity, noon) },
	} {
		if _, err := issue(); err == nil && name != "bad pattern" {
			t.Errorf("%s: was accepted", name)
		}
	}
	pair, err := ca.IssueClient("a", RoleEtcd, 2*caValidity, noon)
	if cert := leafOf(t, pair, err); cert.NotAfter.After(ca.cert.NotAfter) {
		t.Errorf("the leaf ends on %s, after its CA on %s", cert.NotAfter, ca.cert.NotAfter)
	}
	long := strings.Repeat("ä", 100)
	pair, err = ca.IssueServer(Names{DNS: []string{strings.Repeat("a", 63) + ".example.org"}}, LeafValidity, noon)
	leafOf(t, pair, err)
	pair, err = ca.IssueClient(long, RoleEtcd, LeafValidity, noon)
	leafOf(t, pair, err)
}

func TestFingerprintIsOfTheKey(t *testing.T) {
	ca := newCA(t, noon)
	renewed := *ca.cert
	renewed.Raw, renewed.NotAfter = nil, noon.AddDate(20, 0, 0)
	got := Fingerprint(ca.cert)
	if got != Fingerprint(&renewed) || !strings.HasPrefix(got, "SHA256:") || len(got) != len("SHA256:")+64 {
		t.Errorf("got %q", got)
	}
}

func TestKeysStayOutOfLogs(t *testing.T) {
	ca := newCA(t, noon)
	secrets, err := Bundle(BundleConfig{CA: ca, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.IssueClient("a", RoleEtcd, LeafValidity, noon)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{ca, pair, &pair, secrets} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(format, v); strings.Contains(got, "PRIVATE") || len(got) > 300 {
				t.Errorf("%T as %s prints %.80s", v, format, got)
			}
		}
	}
}

func TestNamesOf(t *testing.T) {
	got := NamesOf([]string{"b.example.org", "192.0.2.1", "", "a", "2001:db8::1"})
	if !slices.Equal(got.DNS, []string{"b.example.org", "a"}) || len(got.IPs) != 2 || got.IPs[0].String() != "192.0.2.1" || got.IPs[1].String() != "2001:db8::1" {
		t.Errorf("got %v", got)
	}
}
