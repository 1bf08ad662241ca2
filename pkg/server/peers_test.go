package server

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

const peerName = "dotmesh.test.svc"

// serving is a server's API in front of a plane; nothing is on its pool.
type serving struct {
	*plane
	api  *client.Client
	stop func()
}

// serve answers for a plane, as the servers of one cluster do that has the CA.
func serve(t *testing.T, ca *pki.CA, p *plane) serving {
	t.Helper()
	dir := t.TempDir()
	pair, err := ca.IssueAPI(pki.Names{DNS: []string{peerName}}, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "ca.crt", string(ca.CertPEM()))
	put(t, dir, "tls.crt", string(pair.Cert))
	put(t, dir, "tls.key", string(pair.Key))
	put(t, dir, apiKeyFile, testKey)
	file := func(name string) string { return filepath.Join(dir, name) }
	s, err := New(Config{
		NodeName: p.node, Pool: PoolConfig{Root: "pool"}, Etcd: EtcdConfig{Endpoints: []string{"x"}}, Listen: "127.0.0.1:0",
		TLSCert: file("tls.crt"), TLSKey: file("tls.key"), ClientCA: file("ca.crt"), PeerName: peerName, SecretDir: dir, RunDir: dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	tlsConfig, _, err := s.identity(ctx)
	if err != nil {
		t.Fatal(err)
	}
	l, err := listenTLS(ctx, s.cfg.Listen, tlsConfig)
	if err != nil {
		t.Fatal(err)
	}
	p.peers = s.peers
	s.plane.Store(p)
	advertise(t, p, l.Addr().String())
	e := newEndpoint(ctx, "api", l, s.api(newAuthenticator(dir, s.findUser)))
	done := make(chan error, 1)
	go func() { done <- e.serve(ctx) }()
	stop := func() {
		cancel()
		s.peers.close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	trust, err := client.TrustCAFile(file("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	return serving{p, caller(t, client.Config{Address: l.Addr().String(), Trust: trust, ServerName: peerName, User: "admin"}, testKey), stop}
}

// advertise writes where a plane's server is.
func advertise(t *testing.T, p *plane, address string) {
	t.Helper()
	if err := registerPool(t.Context(), p.store, dot.Pool{ID: p.pool, Node: p.node, Address: address}); err != nil {
		t.Fatal(err)
	}
}

// TestServersAnswerForEachOther: what one server has to do is asked of the other,
// which does it as if it had been asked itself, or says why not.
func TestServersAnswerForEachOther(t *testing.T) {
	ca, err := pki.NewCA("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := testStore(t)
	a := serve(t, ca, planeAt(t, s, dot.PoolIDOf(7), "here"))
	b := serve(t, ca, planeAt(t, s, dot.PoolIDOf(8), "there"))
	c := add(t, a.plane, "ours", a.pool)
	made := dot.Commit{ID: dot.NewCommitID(), Dot: c.dot.ID, Branch: c.branch.ID, CSIName: "made", Volume: c.volume.ID, Sequence: 1}
	if err := s.Txn().PutCommit(made).PutSnapshot(store.Snapshot{CSIName: "made", Dot: made.Dot, Commit: made.ID, Volume: made.Volume}).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}

	shared, err := b.api.Dots.ShareDot(t.Context(), connect.NewRequest(&v1.ShareDotRequest{Dot: "ours", Share: []string{"shop"}}))
	if err != nil || len(shared.Msg.GetDot().GetSharedWith()) != 1 {
		t.Errorf("sharing: got %v, %v", shared, err)
	}
	handle := c.dot.ID.String() + "/" + made.ID.String()
	if _, err := b.api.Volumes.DeleteSnapshot(t.Context(), connect.NewRequest(&v1.DeleteSnapshotRequest{Handle: handle})); err != nil {
		t.Errorf("deleting a snapshot: %v", err)
	}
	if a.work.length() != 1 {
		t.Errorf("the server of the pool has %d jobs, want the destruction of a snapshot", a.work.length())
	}
	_, err = b.api.Dots.DeleteDot(t.Context(), connect.NewRequest(&v1.DeleteDotRequest{Dot: "ours"}))
	if dot.CodeOf(err) != dot.CodePrecondition || !contains(err, "used by 1 volumes") {
		t.Errorf("a refusal: got %v, want it as the other server gave it", err)
	}

	expand := func(ctx context.Context) error {
		_, err := b.api.Volumes.ExpandVolume(ctx, connect.NewRequest(&v1.ExpandVolumeRequest{Volume: c.volume.ID.String(), RequiredBytes: 2 << 30}))
		return err
	}
	unlock, err := a.locks.lock(t.Context(), volumeLock(c.volume.ID))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	bounded, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	if err := expand(bounded); dot.CodeOf(err) != dot.CodeDeadline && dot.CodeOf(err) != dot.CodeAborted {
		t.Errorf("a call that the other server is not done with: got %v", err)
	}
	cancel()
	unlock()
	if waited := time.Since(begun); waited > 30*time.Second {
		t.Errorf("the caller's deadline of 300 ms was kept after %v", waited)
	}

	// Its address is another's now: this one's, to have a loop if there can be one.
	at, err := s.GetPool(t.Context(), a.pool)
	if err != nil {
		t.Fatal(err)
	}
	there, err := s.GetPool(t.Context(), b.pool)
	if err != nil {
		t.Fatal(err)
	}
	advertise(t, a.plane, there.Value.Address)
	if err := expand(t.Context()); dot.CodeOf(err) != dot.CodeUnavailable || !contains(err, "this is the server of pool 8 and not of 7") {
		t.Errorf("an address that another server has: got %v", err)
	}
	advertise(t, a.plane, at.Value.Address)
	a.stop()
	if err := expand(t.Context()); dot.CodeOf(err) != dot.CodeUnavailable || !contains(err, "the server of pool 7 on node here") {
		t.Errorf("a server that is away: got %v", err)
	}
}

// TestServersOfAnotherCAAreNotAsked: nor is this one believed by them.
func TestServersOfAnotherCAAreNotAsked(t *testing.T) {
	s := testStore(t)
	var cas [2]*pki.CA
	for i := range cas {
		var err error
		if cas[i], err = pki.NewCA("test", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	a := serve(t, cas[0], planeAt(t, s, dot.PoolIDOf(7), "here"))
	b := serve(t, cas[1], planeAt(t, s, dot.PoolIDOf(8), "there"))
	add(t, a.plane, "ours", a.pool)
	_, err := b.api.Dots.DeleteDot(t.Context(), connect.NewRequest(&v1.DeleteDotRequest{Dot: "ours"}))
	if dot.CodeOf(err) != dot.CodeUnavailable || !contains(err, "the server of pool 7 on node here") {
		t.Errorf("got %v", err)
	}
}
