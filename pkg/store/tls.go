package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// TLS names PEM files. They are read again for every connection, so that
// renewed certificates are used without a restart.
type TLS struct {
	CAFile string
	// CertFile and KeyFile are the client's; both or none.
	CertFile, KeyFile string
}

// config reads the files.
func (t TLS) config() (*tls.Config, error) {
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, dot.Invalid("the CA of etcd cannot be read: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, dot.Invalid("the CA of etcd in %s is not a PEM certificate", t.CAFile)
	}
	cfg := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if t.CertFile == "" && t.KeyFile == "" {
		return cfg, nil
	}
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, dot.Invalid("the client certificate for etcd cannot be used: %w", err)
	}
	if now := time.Now(); now.After(cert.Leaf.NotAfter) {
		return nil, dot.Precondition("the client certificate for etcd in %s ended on %s: renew it", t.CertFile, cert.Leaf.NotAfter.Format(time.DateOnly))
	}
	cfg.Certificates = []tls.Certificate{cert}
	return cfg, nil
}

// credentials refuses files that cannot be used now.
func (t TLS) credentials() (credentials.TransportCredentials, error) {
	cfg, err := t.config()
	if err != nil {
		return nil, err
	}
	return rereading{credentials.NewTLS(cfg), t}, nil
}

// rereading makes each handshake with what the files hold at that time.
type rereading struct {
	credentials.TransportCredentials
	files TLS
}

// ClientHandshake implements credentials.TransportCredentials.
func (r rereading) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cfg, err := r.files.config()
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(cfg).ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (r rereading) Clone() credentials.TransportCredentials { return r }
