package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

const (
	caValidity = 10 * 365 * 24 * time.Hour

	// LeafValidity is the default for certificates that a CA issues.
	LeafValidity = 365 * 24 * time.Hour

	// backdated lets clocks differ.
	backdated = time.Hour
)

// CA signs certificates.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes a CA whose subject is name, valid from now.
func NewCA(name string, now time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	return selfSigned(pkix.Name{CommonName: name}, key, now)
}

// Renew makes the CA's next certificate, valid from now, of the same name and key:
// what the CA signed stays valid below it, and whoever pinned the key goes on
// believing it.
func (ca *CA) Renew(now time.Time) (*CA, error) {
	return selfSigned(pkix.Name{CommonName: ca.cert.Subject.CommonName}, ca.key, now)
}

func selfSigned(subject pkix.Name, key *ecdsa.PrivateKey, now time.Time) (*CA, error) {
	template := &x509.Certificate{
		Subject:               subject,
		NotBefore:             now.Add(-backdated),
		NotAfter:              now.Add(caValidity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // it signs leaves only
	}
	// Without a serial number in the template a random one is used, and the
	// subject key id is a hash of the key.
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	return &CA{cert, key}, nil
}

// LoadCA reads what CertPEM and KeyPEM gave.
func LoadCA(certPEM, keyPEM []byte) (*CA, error) {
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("load the CA: %w", err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("load the CA: %w", err)
	}
	if !cert.IsCA || !cert.BasicConstraintsValid {
		return nil, errors.New("load the CA: its certificate is not that of a CA")
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("load the CA: certificate and key do not belong together")
	}
	return &CA{cert, key}, nil
}

// Cert gives the certificate.
func (ca *CA) Cert() *x509.Certificate { return ca.cert }

// CertPEM gives the certificate, which is public.
func (ca *CA) CertPEM() []byte { return certPEM(ca.cert.Raw) }

// KeyPEM gives the private key.
func (ca *CA) KeyPEM() ([]byte, error) { return keyPEM(ca.key) }

// String keeps the key out of logs.
func (ca *CA) String() string { return "(certificate and key)" }

// GoString keeps the key out of logs.
func (ca *CA) GoString() string { return ca.String() }

// Fingerprint gives the SHA-256 of a certificate's SubjectPublicKeyInfo as
// "SHA256:" and 64 hex digits: it outlives the renewal of a certificate that
// keeps its key.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "SHA256:" + hex.EncodeToString(sum[:])
}
