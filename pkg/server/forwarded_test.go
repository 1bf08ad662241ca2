package server

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// shown is the state of a connection whose client showed a certificate of a role.
func shown(role pki.Role, verified bool) *tls.ConnectionState {
	cert := &x509.Certificate{Subject: pkix.Name{OrganizationalUnit: []string{string(role)}}}
	s := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	if verified {
		s.VerifiedChains = [][]*x509.Certificate{{cert}}
	}
	return s
}

// TestWhoMayCallForOthers: what a request says of another caller is believed of
// servers alone. Of anybody else it is refused, even with the admin's key.
func TestWhoMayCallForOthers(t *testing.T) {
	a, dir := testAuthenticator(t, nil)
	put(t, dir, apiKeyFile, testKey)
	server := shown(pki.RoleServer, true)
	for _, c := range []struct {
		what             string
		tls              *tls.ConnectionState
		pool, name, role string
		key              string
		path             string
		code             int
		as               principal
	}{
		{what: "a server", tls: server, pool: "7", name: "bob", role: roleUser, code: http.StatusOK, as: principal{"bob", roleUser}},
		{what: "a server, for who may not", tls: server, pool: "7", name: "bob", role: roleUser, path: dotmeshv1connect.VolumeServiceDeleteVolumeProcedure, code: http.StatusForbidden},
		{what: "a server, for a role that is none", tls: server, pool: "7", name: "bob", role: "king", code: http.StatusForbidden},
		{what: "a server, for no one", tls: server, pool: "7", code: http.StatusInternalServerError},
		{what: "a server, to nowhere", tls: server, name: "bob", role: roleUser, code: http.StatusInternalServerError},
		{what: "a server for itself, without a key", tls: server, code: http.StatusUnauthorized},
		{what: "a server for itself", tls: server, key: testKey, code: http.StatusOK, as: principal{adminName, roleAdmin}},
		{what: "nobody", pool: "7", name: "admin", role: roleAdmin, code: http.StatusUnauthorized},
		{what: "a TLS client without a certificate", tls: &tls.ConnectionState{}, pool: "7", name: "admin", role: roleAdmin, code: http.StatusUnauthorized},
		{what: "a certificate that was not verified", tls: shown(pki.RoleServer, false), pool: "7", name: "admin", role: roleAdmin, code: http.StatusUnauthorized},
		{what: "a certificate of another role", tls: shown(pki.RoleEtcd, true), pool: "7", name: "admin", role: roleAdmin, code: http.StatusUnauthorized},
		{what: "the admin for bob", tls: &tls.ConnectionState{}, key: testKey, pool: "7", name: "bob", role: roleUser, code: http.StatusUnauthorized},
		{what: "the admin, to a pool", key: testKey, pool: "7", code: http.StatusUnauthorized},
		{what: "the admin", key: testKey, code: http.StatusOK, as: principal{adminName, roleAdmin}},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		if r.URL.Path = c.path; c.path == "" {
			r.URL.Path = dotmeshv1connect.DotServiceListDotsProcedure
		}
		r.TLS = c.tls
		for header, value := range map[string]string{headerPool: c.pool, headerCaller: c.name, headerRole: c.role} {
			if value != "" {
				r.Header.Set(header, value)
			}
		}
		if c.key != "" {
			r.SetBasicAuth(adminName, c.key)
		}
		var as principal
		answer := httptest.NewRecorder()
		a.require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			as, _ = r.Context().Value(principalKey{}).(principal)
			if isForwarded(r.Context()) != (c.pool != "") {
				t.Errorf("%s: forwarded is %t", c.what, !(c.pool != ""))
			}
		})).ServeHTTP(answer, r)
		if answer.Code != c.code || as != c.as {
			t.Errorf("%s: got %d as %+v, want %d as %+v", c.what, answer.Code, as, c.code, c.as)
		}
	}
}

// TestACallGoesOneHop: one that was forwarded is answered or sent back, never sent on,
// and only the server that it was meant for takes it.
func TestACallGoesOneHop(t *testing.T) {
	p := testPlane(t)
	away := dot.PoolIDOf(8)
	if err := registerPool(t.Context(), p.store, dot.Pool{ID: away, Node: "there", Address: "127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	id := add(t, p, "theirs", away).volume.ID.String()
	h := volumeHandler{func() (*plane, error) { return p, nil }}
	expand := func(to dot.PoolID) error {
		ctx := t.Context()
		if !to.IsZero() {
			ctx = withForwarded(ctx, forwarded{to: to})
		}
		_, err := h.ExpandVolume(ctx, connect.NewRequest(&v1.ExpandVolumeRequest{Volume: id, RequiredBytes: 2 << 30}))
		return err
	}
	for what, c := range map[string]struct {
		to   dot.PoolID
		code dot.Code
		says string
	}{
		"asked by a user":              {dot.PoolID{}, dot.CodeUnavailable, "the server of pool 8 on node there cannot be asked"},
		"sent on to this server":       {p.pool, dot.CodeAborted, "to node there"},
		"sent on to another, met here": {away, dot.CodeUnavailable, "this is the server of pool 7"},
	} {
		if err := expand(c.to); dot.CodeOf(err) != c.code || !contains(err, c.says) {
			t.Errorf("%s: got %v, want code %d and %q", what, err, c.code, c.says)
		}
	}
}
