package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// renewBefore is how long before its end EnsureDir renews a certificate.
const renewBefore = 30 * 24 * time.Hour

// EnsureDir keeps a CA and a server certificate of its own in a directory that
// only its owner can enter: what a single machine's server uses. The CA is made
// once; the certificate is made anew when it is missing, ends within 30 days, or
// lacks one of the names. It gives the server's Files; Files.CA is the CA's
// certificate.
func EnsureDir(dir string, names Names, now time.Time) (Files, error) {
	files := Files{CA: filepath.Join(dir, CAFile), Cert: filepath.Join(dir, CertFile), Key: filepath.Join(dir, KeyFile)}
	fail := func(err error) (Files, error) { return Files{}, fmt.Errorf("certificates in %s: %w", dir, err) }
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	ca, err := ensureCA(files.CA, filepath.Join(dir, CAKeyFile), now)
	if err != nil {
		return fail(err)
	}
	if usable(ca, files, names, now) {
		return files, nil
	}
	pair, err := ca.IssueServer(names, LeafValidity, now)
	if err != nil {
		return fail(err)
	}
	// A crash between the two leaves a pair that is not usable: made anew.
	if err := errors.Join(writeFile(files.Key, pair.Key), writeFile(files.Cert, pair.Cert)); err != nil {
		return fail(err)
	}
	return files, nil
}

// ensureCA loads the CA, or makes it. The certificate is written last: a key
// without one was never used.
func ensureCA(certPath, keyPath string, now time.Time) (*CA, error) {
	cert, err := os.ReadFile(certPath)
	if err == nil {
		key, err := os.ReadFile(keyPath)
		if err != nil {
			return nil, fmt.Errorf("the CA has lost its key: %w", err)
		}
		return LoadCA(cert, key)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ca, err := NewCA("dotmesh", now)
	if err != nil {
		return nil, err
	}
	key, err := ca.KeyPEM()
	if err == nil {
		err = writeFile(keyPath, key)
	}
	if err == nil {
		err = writeFile(certPath, ca.CertPEM())
	}
	return ca, err
}

// usable tells whether the certificate can be kept.
func usable(ca *CA, files Files, names Names, now time.Time) bool {
	held, err := files.load()
	if err != nil {
		return false
	}
	cert, err := x509.ParseCertificate(held.own.Certificate[0])
	if err != nil || cert.CheckSignatureFrom(ca.cert) != nil || now.Add(renewBefore).After(cert.NotAfter) && cert.NotAfter.Before(ca.cert.NotAfter) {
		return false
	}
	return Leaf{leaf: serverLeaf(names)}.NamedBy(cert)
}
