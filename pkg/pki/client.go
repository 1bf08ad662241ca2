package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// ClientConfig makes the TLS configuration of a client from the files of its
// Secret: whom it believes, and what it shows.
func ClientConfig(files map[string][]byte) (*tls.Config, error) {
	own, err := tls.X509KeyPair(files[CertFile], files[KeyFile])
	if err != nil {
		return nil, fmt.Errorf("the client's certificate cannot be used: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(files[CAFile]) {
		return nil, errors.New(CAFile + " is not a certificate in PEM")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{own}}, nil
}
