package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// showFingerprint asks a server that nothing says to trust for its certificates
// only, and gives the fingerprint to pin: that of the CA which it presents, which
// outlives renewals, else that of its own key. Nothing is sent to it.
func showFingerprint(ctx context.Context, timeout time.Duration, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var d tls.Dialer
	d.Config = &tls.Config{
		// Nobody is trusted here: the connection is closed after the handshake,
		// and a person compares what it showed.
		InsecureSkipVerify: true, //nolint:gosec // see above
		MinVersion:         tls.VersionTLS13,
	}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", dot.Unavailable("no dotmesh server answers at %s: %w", address, err)
	}
	defer conn.Close()
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return "", dot.Unavailable("no dotmesh server answers at %s", address)
	}
	return pinFor(secure.ConnectionState().PeerCertificates), nil
}

func pinFor(chain []*x509.Certificate) string {
	leaf := chain[0]
	for _, ca := range chain[1:] {
		if ca.IsCA && leaf.CheckSignatureFrom(ca) == nil {
			return client.FingerprintOf(ca)
		}
	}
	return client.FingerprintOf(leaf)
}
