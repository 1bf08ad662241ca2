package members

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// authority makes the certificates of a test's etcd.
type authority struct {
	t  *testing.T
	ca *pki.CA
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	ca, err := pki.NewCA("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return authority{t, ca}
}

// files writes a member's certificate.
func (a authority) files() transport.TLSInfo {
	a.t.Helper()
	dir := a.t.TempDir()
	pair, err := a.ca.IssuePeer(pki.LocalNames(), pki.LeafValidity, time.Now())
	info := transport.TLSInfo{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"), TrustedCAFile: filepath.Join(dir, "ca.crt"), ClientCertAuth: true}
	for path, content := range map[string][]byte{info.CertFile: pair.Cert, info.KeyFile: pair.Key, info.TrustedCAFile: a.ca.CertPEM()} {
		if err == nil {
			err = os.WriteFile(path, content, 0o600)
		}
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return info
}

// client is the TLS configuration of a client of theirs.
func (a authority) client(issuer *pki.CA) *tls.Config {
	a.t.Helper()
	pair, err := issuer.IssueClient("operator", pki.RoleEtcd, pki.LeafValidity, time.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	own, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		a.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.ca.Cert())
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{own}}
}

// member is an etcd in this process that is to be started.
type member struct {
	name         string
	peer, client url.URL
	config       *embed.Config
	running      *embed.Etcd
}

func (a authority) member(name string) *member {
	a.t.Helper()
	m := &member{name: name, peer: freeURL(a.t), client: freeURL(a.t)}
	c := embed.NewConfig()
	c.Name, c.Dir, c.UnsafeNoFsync = name, a.t.TempDir(), true
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{m.peer}, []url.URL{m.peer}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{m.client}, []url.URL{m.client}
	c.ClientTLSInfo, c.PeerTLSInfo = a.files(), a.files()
	c.InitialCluster = name + "=" + m.peer.String()
	c.EnableGRPCGateway = false
	c.TickMs, c.ElectionMs = 50, 500
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	m.config = c
	a.t.Cleanup(m.stop)
	return m
}

func freeURL(t *testing.T) url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return url.URL{Scheme: "https", Host: l.Addr().String()}
}

func (m *member) start(t *testing.T) {
	t.Helper()
	var err error
	if m.running, err = embed.StartEtcd(m.config); err != nil {
		t.Fatal(err)
	}
}

func (m *member) stop() {
	if m.running != nil {
		m.running.Close()
		m.running = nil
	}
}

// join starts a member that the others know already.
func (m *member) join(t *testing.T, others ...*member) {
	t.Helper()
	for _, o := range others {
		m.config.InitialCluster += "," + o.name + "=" + o.peer.String()
	}
	m.config.ClusterState = embed.ClusterStateFlagExisting
	m.start(t)
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T, cfg Config) *Cluster {
	t.Helper()
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// eventually waits until the list is as it should be.
func eventually(t *testing.T, c *Cluster, what string, is func([]Member) bool) []Member {
	t.Helper()
	var last []Member
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if last, err = c.List(t.Context()); err == nil && is(last) {
			return last
		}
	}
	t.Fatalf("%s: not within a minute; got %+v, %v", what, last, err)
	return nil
}

func healthy(n int) func([]Member) bool {
	return func(all []Member) bool {
		well := 0
		for _, m := range all {
			if m.Healthy {
				well++
			}
		}
		return well == n
	}
}

func find(all []Member, m *member) Member {
	for _, found := range all {
		if found.PeerURL == m.peer.String() {
			return found
		}
	}
	return Member{}
}

// soon tries what etcd refuses until its members have known each other for a while.
func soon(t *testing.T, do func(context.Context) error) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		err := do(t.Context())
		if err == nil {
			return
		}
		if !errors.Is(err, ErrNotCaughtUp) && dot.CodeOf(err) != dot.CodePrecondition {
			t.Fatal(err)
		}
	}
	t.Fatal("not within a minute")
}

func promote(t *testing.T, c *Cluster, id ID) {
	t.Helper()
	soon(t, func(ctx context.Context) error { return c.Promote(ctx, id) })
}

func add(t *testing.T, c *Cluster, m *member) {
	t.Helper()
	soon(t, func(ctx context.Context) error { return c.AddLearner(ctx, m.peer.String()) })
}

// TestAlarm: a member that answers tells why it is not well.
func TestAlarm(t *testing.T) {
	a := newAuthority(t)
	one := a.member("one")
	one.start(t)
	c := open(t, Config{Endpoints: []string{one.client.String()}, TLS: a.client(a.ca)})
	if m := find(eventually(t, c, "the member", healthy(1)), one); m.Trouble != "" {
		t.Errorf("got %q", m.Trouble)
	}
	raise := &etcdserverpb.AlarmRequest{Action: etcdserverpb.AlarmRequest_ACTIVATE, Alarm: etcdserverpb.AlarmType_NOSPACE}
	if _, err := one.running.Server.Alarm(within(t, 10*time.Second), raise); err != nil {
		t.Fatal(err)
	}
	if m := find(eventually(t, c, "the alarm", healthy(0)), one); !strings.Contains(m.Trouble, "NOSPACE") {
		t.Errorf("got %q", m.Trouble)
	}
}

// TestFromOneToThreeAndOneReplaced is the life of a cluster.
func TestFromOneToThreeAndOneReplaced(t *testing.T) {
	a := newAuthority(t)
	one, two, three := a.member("one"), a.member("two"), a.member("three")
	one.start(t)
	c := open(t, Config{Endpoints: []string{one.client.String()}, TLS: a.client(a.ca)})
	first := find(eventually(t, c, "the first member", healthy(1)), one)
	if first.Name != "one" || first.Learner || first.ID == 0 {
		t.Errorf("got %+v", first)
	}

	for range 2 { // the answer to the first call may be lost
		add(t, c, two)
	}
	all, err := c.List(within(t, 10*time.Second))
	if added := find(all, two); err != nil || len(all) != 2 || !added.Learner || added.Name != "" || added.Healthy {
		t.Fatalf("after adding: got %+v, %v", all, err)
	}
	if err := c.Promote(within(t, 10*time.Second), find(all, two).ID); err == nil {
		t.Error("a member that never started was promoted")
	}
	two.join(t, one)
	id := find(eventually(t, c, "the second member", healthy(2)), two).ID
	promote(t, c, id)
	promote(t, c, id) // once more is no error

	add(t, c, three)
	three.join(t, one, two)
	third := find(eventually(t, c, "the third member", healthy(3)), three).ID
	promote(t, c, third)
	if all, err := c.List(within(t, 10*time.Second)); err != nil || find(all, three).Learner {
		t.Errorf("got %+v, %v", all, err)
	}

	three.stop()
	eventually(t, c, "the third is lost", healthy(2))
	for range 2 {
		soon(t, func(ctx context.Context) error { return c.Remove(ctx, third) })
	}
	again := a.member("three")
	add(t, c, again)
	again.join(t, one, two)
	fourth := find(eventually(t, c, "its replacement", healthy(3)), again).ID
	if fourth == third {
		t.Error("the replacement has the id of the one it replaces")
	}
	promote(t, c, fourth)
}

func TestWithoutAnswer(t *testing.T) {
	a, theirs := newAuthority(t), newAuthority(t)
	one := a.member("one")
	one.start(t)
	for what, cfg := range map[string]Config{
		"nobody there":         {Endpoints: []string{"https://127.0.0.1:1"}, TLS: a.client(a.ca)},
		"client of another CA": {Endpoints: []string{one.client.String()}, TLS: a.client(theirs.ca)},
		"etcd of another CA":   {Endpoints: []string{one.client.String()}, TLS: theirs.client(a.ca)},
	} {
		cfg.Timeout = time.Second
		c := open(t, cfg)
		began := time.Now()
		if _, err := c.List(t.Context()); dot.CodeOf(err) != dot.CodeUnavailable {
			t.Errorf("%s: got %v", what, err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: it took %s", what, took)
		}
	}
	if _, err := Open(Config{}); dot.CodeOf(err) != dot.CodeInvalid {
		t.Errorf("no endpoint: got %v", err)
	}
}
