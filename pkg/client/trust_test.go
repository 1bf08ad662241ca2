package client

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// chainOf makes a CA and a server certificate, leaf first.
func chainOf(t *testing.T, now time.Time) []*x509.Certificate {
	t.Helper()
	ca, err := pki.NewCA("test", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.IssueServer(pki.LocalNames(), time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(pair.Cert); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, cert)
	}
	if len(chain) != 2 {
		t.Fatalf("the chain has %d certificates, want 2", len(chain))
	}
	return chain
}

func TestPins(t *testing.T) {
	now := time.Now()
	ours, other, expired := chainOf(t, now), chainOf(t, now), chainOf(t, now.Add(-48*time.Hour))
	mixed := []*x509.Certificate{other[0], ours[1]} // a stranger's leaf beside our CA
	for _, c := range []struct {
		what  string
		pin   *x509.Certificate
		chain []*x509.Certificate
		ok    bool
	}{
		{"the leaf", ours[0], ours, true},
		{"the CA", ours[1], ours, true},
		{"another server's", other[0], ours, false},
		{"a leaf that the pinned CA did not sign", ours[1], mixed, false},
		{"an expired leaf", expired[0], expired, false},
		{"nothing shown", ours[0], nil, false},
	} {
		if err := verifyPin(FingerprintOf(c.pin), c.chain); (err == nil) != c.ok {
			t.Errorf("%s: got %v", c.what, err)
		}
	}
}

func TestFingerprintForms(t *testing.T) {
	digits := strings.Repeat("0a", 32)
	want := "SHA256:" + digits
	for _, s := range []string{digits, "SHA256:" + digits, "sha256:" + strings.ToUpper(digits), strings.TrimSuffix(strings.Repeat("0A:", 32), ":")} {
		if got, err := ParseFingerprint(s); err != nil || got != want {
			t.Errorf("%s: got %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "SHA256:", "0a", digits + "00", strings.Repeat("zz", 32)} {
		if _, err := ParseFingerprint(s); dot.CodeOf(err) != dot.CodeInvalid {
			t.Errorf("%q: got %v", s, err)
		}
	}
	if _, err := New(Config{Address: "x"}); dot.CodeOf(err) != dot.CodeInvalid {
		t.Errorf("a client that trusts nobody in particular: got %v", err)
	}
	if _, err := New(Config{Trust: Trust{Fingerprint: digits}}); dot.CodeOf(err) != dot.CodeInvalid {
		t.Errorf("no address: got %v", err)
	}
}

func FuzzFingerprint(f *testing.F) {
	for _, s := range []string{"", "SHA256:", strings.Repeat("0a", 32), strings.Repeat("0A:", 32), "sha256:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseFingerprint(s)
		if err != nil {
			return
		}
		if again, err := ParseFingerprint(got); err != nil || again != got || len(got) != len("SHA256:")+64 {
			t.Errorf("%q: got %q, then %q, %v", s, got, again, err)
		}
	})
}
