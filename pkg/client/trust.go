package client

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// Trust says which server is believed to be the right one.
type Trust struct {
	// CAs that may have signed the server's certificate.
	CAs *x509.CertPool
	// Fingerprint is the SHA-256 of the SubjectPublicKeyInfo of the server's
	// certificate or of the CA that signed it and that the server presents: 64
	// hex digits, with or without colons and a "SHA256:" in front.
	Fingerprint string
}

// TrustCAFile believes the CAs in a PEM file.
func TrustCAFile(path string) (Trust, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return Trust{}, dot.Invalid("read the CA of the server: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return Trust{}, dot.Invalid("%s holds no PEM certificate", path)
	}
	return Trust{CAs: pool}, nil
}

// ErrFingerprint tells that the server has another key than the pinned one.
type ErrFingerprint struct {
	// Want is what was pinned, Got what the server's own certificate has.
	Want, Got string
}

// Error says both.
func (e *ErrFingerprint) Error() string {
	return fmt.Sprintf("the server's key has the fingerprint %s, not %s: it is another server, or its certificates were made anew", e.Got, e.Want)
}

// FingerprintOf gives a certificate's fingerprint in the form that Trust takes.
func FingerprintOf(cert *x509.Certificate) string { return pki.Fingerprint(cert) }

// ParseFingerprint gives the canonical form, that of pki.Fingerprint.
func ParseFingerprint(s string) (string, error) {
	digits := s
	if len(digits) > 7 && strings.EqualFold(digits[:7], "SHA256:") {
		digits = digits[7:]
	}
	b, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
	if err != nil || len(b) != sha256.Size {
		return "", dot.Invalid("fingerprint %q is not the SHA-256 of a key: 64 hex digits", s)
	}
	return "SHA256:" + hex.EncodeToString(b), nil
}

func (t Trust) tlsConfig(serverName string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: serverName, NextProtos: []string{"h2", "http/1.1"}}
	switch {
	case t.CAs != nil:
		cfg.RootCAs = t.CAs
		return cfg, nil
	case t.Fingerprint != "":
		want, err := ParseFingerprint(t.Fingerprint)
		if err != nil {
			return nil, err
		}
		// The pin takes the place of names and CAs; VerifyConnection runs also
		// when a session is resumed.
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = func(s tls.ConnectionState) error { return verifyPin(want, s.PeerCertificates) }
		return cfg, nil
	}
	return nil, dot.Invalid("nothing says which server to trust: give its CA or its fingerprint")
}

// verifyPin accepts a leaf with the pinned key, or one signed by a presented CA
// with the pinned key.
func verifyPin(want string, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return &ErrFingerprint{Want: want, Got: "none"}
	}
	leaf := chain[0]
	if now := time.Now(); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fmt.Errorf("the server's certificate is valid only from %s to %s; renew it with dotmesh certs --ca, or restart a server that makes its own", leaf.NotBefore, leaf.NotAfter)
	}
	if pki.Fingerprint(leaf) == want {
		return nil
	}
	for _, ca := range chain[1:] {
		if pki.Fingerprint(ca) != want {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if err != nil {
			return fmt.Errorf("the server's certificate was not signed by the pinned CA: %w", err)
		}
		return nil
	}
	return &ErrFingerprint{Want: want, Got: pki.Fingerprint(leaf)}
}
