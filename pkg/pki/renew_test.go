package pki

import (
	"crypto/x509"
	"testing"
	"time"
)

func TestRenewedCAKeepsWhatItSigned(t *testing.T) {
	ca := newCA(t, noon)
	pair, err := ca.IssueClient("a", RoleEtcd, LeafValidity, noon)
	old := leafOf(t, pair, err)
	later := noon.Add(300 * 24 * time.Hour)
	renewed, err := ca.Renew(later)
	if err != nil {
		t.Fatal(err)
	}
	if !renewed.Cert().NotAfter.After(ca.Cert().NotAfter) || Fingerprint(renewed.Cert()) != Fingerprint(ca.Cert()) {
		t.Errorf("got an end of %s and fingerprint %s", renewed.Cert().NotAfter, Fingerprint(renewed.Cert()))
	}
	if err := verify(renewed, old, "", later, x509.ExtKeyUsageClientAuth); err != nil {
		t.Errorf("what the old certificate signed: %v", err)
	}
	pair, err = renewed.IssueClient("b", RoleEtcd, LeafValidity, later)
	if err := verify(ca, leafOf(t, pair, err), "", later, x509.ExtKeyUsageClientAuth); err != nil {
		t.Errorf("for those who know only the old certificate: %v", err)
	}
	key, err := renewed.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCA(renewed.CertPEM(), key); err != nil {
		t.Error(err)
	}
}

func TestParseCerts(t *testing.T) {
	one, two := newCA(t, noon), newCA(t, noon)
	certs, err := ParseCerts(append(one.CertPEM(), two.CertPEM()...))
	if err != nil || len(certs) != 2 || !certs[0].Equal(one.Cert()) || !certs[1].Equal(two.Cert()) {
		t.Fatalf("got %d certificates, %v", len(certs), err)
	}
	if back, err := ParseCerts(CertsPEM(certs)); err != nil || len(back) != 2 {
		t.Errorf("got %d certificates back, %v", len(back), err)
	}
	key, err := one.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"nothing": nil, "no PEM": []byte("x"), "a key after it": append(one.CertPEM(), key...)} {
		if _, err := ParseCerts(text); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func TestRenewAt(t *testing.T) {
	cert := &x509.Certificate{NotBefore: noon, NotAfter: noon.Add(90 * time.Hour)}
	if got, want := RenewAt(cert), noon.Add(60*time.Hour); !got.Equal(want) {
		t.Errorf("got %s, want %s", got, want)
	}
}
