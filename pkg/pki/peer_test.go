package pki

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"
)

// TestServersKnowEachOther: each shows its certificate, and believes only one of its
// CA with the Service's name, also after the CA has changed.
func TestServersKnowEachOther(t *testing.T) {
	const name = "dotmesh.dotmesh.svc"
	now := time.Now()
	ours, theirs := newCA(t, now), newCA(t, now)
	api := func(ca, trusts *CA, names ...string) Files {
		pair, err := ca.IssueAPI(Names{DNS: names}, LeafValidity, now)
		return write(t, t.TempDir(), trusts, pair, err)
	}
	bare := func() Files {
		pair, err := ours.IssueServer(Names{DNS: []string{name}}, LeafValidity, now)
		return write(t, t.TempDir(), ours, pair, err)
	}()
	for _, tt := range []struct {
		what           string
		caller, server Files
		want           string // part of the error, "" for none
	}{
		{"alike", api(ours, ours, name), api(ours, ours, name), ""},
		{"a server of another name", api(ours, ours, name), api(ours, ours, "other"), "not " + name},
		{"a server of another CA", api(ours, ours, name), api(theirs, ours, name), "authority"},
		{"a caller of another CA", api(theirs, ours, name), api(ours, ours, name), "authority"},
		{"a caller whose certificate is of no role", bare, api(ours, ours, name), "certificate"},
	} {
		server := must[*tls.Config](t)(tt.server.ServerConfig(RoleServer))
		caller := must[*tls.Config](t)(tt.caller.PeerConfig(name))
		state, err := handshake(t, server, caller)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.what, err, tt.want)
		}
		if err == nil && state.Version != tls.VersionTLS13 {
			t.Errorf("%s: got TLS %x", tt.what, state.Version)
		}
	}

	changing, server := api(ours, ours, name), api(theirs, theirs, name)
	caller := must[*tls.Config](t)(changing.PeerConfig(name))
	if err := writeFile(changing.CA, theirs.CertPEM()); err != nil {
		t.Fatal(err)
	}
	pair := must[Pair](t)(theirs.IssueAPI(Names{DNS: []string{name}, IPs: []net.IP{net.IPv6loopback}}, LeafValidity, now))
	for path, content := range map[string][]byte{changing.Cert: pair.Cert, changing.Key: pair.Key} {
		if err := writeFile(path, content); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := handshake(t, must[*tls.Config](t)(server.ServerConfig(RoleServer)), caller); err != nil {
		t.Errorf("after both changed to another CA: %v", err)
	}
	if _, err := (Files{Cert: changing.Cert, Key: changing.Key}).PeerConfig(name); err == nil {
		t.Error("a server that knows no CA believes others")
	}
}
