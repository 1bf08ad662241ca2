//go:build zfs

package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// forgers: a call for somebody else is made by servers alone, and goes one hop.
func forgers(t *testing.T, m members) {
	ctx := t.Context()
	v, err := m[0].create(ctx, "forged", "forged", m[0].node)
	must(t, err)
	there, err := call(ctx, m[0].api.Server.GetStatus, &dotmeshv1.GetStatusRequest{})
	must(t, err)
	wrong, err := call(ctx, m[1].api.Server.GetStatus, &dotmeshv1.GetStatusRequest{})
	must(t, err)
	ca := m[0].site.ca
	issue := func(role pki.Role) *tls.Certificate {
		pair, err := ca.IssueClient("forger", role, time.Hour, time.Now())
		must(t, err)
		own, err := tls.X509KeyPair(pair.Cert, pair.Key)
		must(t, err)
		return &own
	}
	for _, c := range []struct {
		what     string
		shows    *tls.Certificate
		to       string // the pool that the call says to be forwarded to
		via      *member
		code     dot.Code
		says     string
		answered bool
	}{
		{what: "nobody", to: there.GetPoolId(), via: m[0], code: dot.CodeUnauthenticated, says: "dotmesh-server"},
		{what: "a client of etcd", shows: issue(pki.RoleEtcd), to: there.GetPoolId(), via: m[0], code: dot.CodeUnavailable, says: "certificate"},
		{what: "a server, to the dot's", shows: issue(pki.RoleServer), to: there.GetPoolId(), via: m[0], answered: true},
		{what: "a server, to the wrong one", shows: issue(pki.RoleServer), to: wrong.GetPoolId(), via: m[1], code: dot.CodeAborted, says: "node-a"},
		{what: "a server, to another than it means", shows: issue(pki.RoleServer), to: there.GetPoolId(), via: m[1], code: dot.CodeUnavailable, says: "not of " + there.GetPoolId()},
	} {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca.CertPEM())
		cfg := &tls.Config{
			MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: peerName, NextProtos: []string{"h2"},
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if c.shows == nil {
					return &tls.Certificate{}, nil
				}
				return c.shows, nil
			},
		}
		peer := client.NewPeer(c.via.address, cfg, says(map[string]string{
			"Dotmesh-Forwarded-To": c.to, "Dotmesh-Forwarded-For": "admin", "Dotmesh-Forwarded-Role": "admin",
		}))
		expand := func() error {
			return only(call(ctx, peer.Volumes.ExpandVolume, &dotmeshv1.ExpandVolumeRequest{Volume: v.GetId(), RequiredBytes: 2 * volumeSize}))
		}
		err := expand()
		// Of TLS 1.3 a client may be writing yet when the server refuses its certificate,
		// and see the connection end, in one way or another, before it reads why.
		for deadline := time.Now().Add(patience); err != nil && !strings.Contains(err.Error(), c.says) && time.Now().Before(deadline); err = expand() {
			time.Sleep(50 * time.Millisecond)
		}
		peer.Close()
		if c.answered {
			must(t, err)
			continue
		}
		refused(t, c.what, err, c.code, c.says)
	}
}

// says puts headers on each call.
func says(headers map[string]string) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			for name, value := range headers {
				req.Header().Set(name, value)
			}
			return next(ctx, req)
		}
	}
}
