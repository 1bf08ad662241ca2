package pki

import (
	"bytes"
	"testing"
)

func FuzzLoadCA(f *testing.F) {
	ca, err := NewCA("dotmesh", noon)
	if err != nil {
		f.Fatal(err)
	}
	key, err := ca.KeyPEM()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ca.CertPEM(), key)
	f.Add(key, ca.CertPEM())
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		loaded, err := LoadCA(cert, key)
		if err != nil {
			return
		}
		text, err := loaded.KeyPEM()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := LoadCA(loaded.CertPEM(), text); err != nil || !bytes.Equal(again.CertPEM(), loaded.CertPEM()) {
			t.Errorf("a CA that was loaded does not load again: %v", err)
		}
	})
}
