package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Files are PEM files of a server. They are watched: whoever changes them,
// certificate and key both, changes what new connections use.
type Files struct {
	// CA is whom to trust; "" for a server that asks no client for a certificate.
	CA string
	// Cert and Key are our own.
	Cert, Key string
}

// ServerConfig makes the TLS configuration of a server. With a CA, clients may
// show a certificate, and one that they show must be of it and of one of the
// roles. Files that cannot be used are refused now; later, the ones before stay
// in use until they can.
func (f Files) ServerConfig(roles ...Role) (*tls.Config, error) {
	if f.Cert == "" || f.Key == "" {
		return nil, errors.New("a server needs a certificate and a key")
	}
	w := &watched{files: f}
	if _, err := w.current(); err != nil {
		return nil, err
	}
	base := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	cfg := base.Clone()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		loaded, err := w.current()
		if err != nil {
			return nil, err
		}
		c := base.Clone()
		c.Certificates = []tls.Certificate{loaded.own}
		if loaded.roots != nil {
			c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, loaded.roots
			c.VerifyConnection = func(s tls.ConnectionState) error {
				if len(s.PeerCertificates) == 0 {
					return nil
				}
				return RequireRole(s.PeerCertificates[0], roles...)
			}
		}
		return c, nil
	}
	return cfg, nil
}

// PeerConfig makes the TLS configuration with which a server calls others: it shows
// its own certificate, and believes who shows one of the CA that has a name.
func (f Files) PeerConfig(name string) (*tls.Config, error) {
	if f.CA == "" {
		return nil, errors.New("a server that calls others needs their CA")
	}
	w := &watched{files: f}
	if _, err := w.current(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: name, NextProtos: []string{"h2", "http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			loaded, err := w.current()
			if err != nil {
				return nil, err
			}
			return &loaded.own, nil
		},
		// VerifyConnection takes its place, because RootCAs cannot follow the file.
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection: func(s tls.ConnectionState) error {
			loaded, err := w.current()
			if err != nil {
				return err
			}
			between := x509.NewCertPool()
			for _, cert := range s.PeerCertificates[1:] {
				between.AddCert(cert)
			}
			_, err = s.PeerCertificates[0].Verify(x509.VerifyOptions{
				Roots: loaded.roots, Intermediates: between, DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			})
			return err
		},
	}, nil
}

// watched holds what the files held when they last could be used.
type watched struct {
	files Files

	mu     sync.Mutex
	stamps [3]stamp
	last   *loaded
}

type loaded struct {
	own   tls.Certificate
	roots *x509.CertPool
}

// stamp changes when a file does. Mounted Secrets change by a symbolic link.
type stamp struct {
	size     int64
	modified time.Time
	inode    uint64
}

// current looks at the files' stamps, which is cheap, and reads them again when
// these have changed. Half of a change (a new certificate, an old key) is an
// error only when nothing was usable before.
func (w *watched) current() (*loaded, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stamps := [3]stamp{stampOf(w.files.CA), stampOf(w.files.Cert), stampOf(w.files.Key)}
	if w.last != nil && stamps == w.stamps {
		return w.last, nil
	}
	now, err := w.files.load()
	if err == nil {
		w.last, w.stamps = now, stamps
	}
	if w.last == nil {
		return nil, err
	}
	return w.last, nil
}

func (f Files) load() (*loaded, error) {
	var l loaded
	if f.CA != "" {
		text, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("the CA cannot be read: %w", err)
		}
		l.roots = x509.NewCertPool()
		if !l.roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("the CA in %s is not a certificate in PEM", f.CA)
		}
	}
	var err error
	if l.own, err = tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
		return nil, fmt.Errorf("the certificate in %s cannot be used: %w", f.Cert, err)
	}
	return &l, nil
}
