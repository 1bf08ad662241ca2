package pki

import (
	"crypto/x509"
	"time"
)

// RenewAt is when a certificate is to be renewed: when a third of its validity is
// left.
func RenewAt(cert *x509.Certificate) time.Time {
	return cert.NotAfter.Add(-cert.NotAfter.Sub(cert.NotBefore) / 3)
}
