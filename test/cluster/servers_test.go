//go:build zfs

package cluster

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
)

// TestTwoServers runs its cases one after another on the same two servers,
// because a pool and a server take seconds to make.
func TestTwoServers(t *testing.T) {
	s := newSite(t)
	a, b := s.newMember(t, "node-a"), s.newMember(t, "node-b")
	for _, key := range []string{"pools/", "alive/"} {
		if got := s.registry(t, key); len(got) != 2 {
			t.Fatalf("the registry has %v, want a key of each server", got)
		}
	}
	for _, c := range []struct {
		name string
		test func(t *testing.T, a, b *member)
	}{
		{"placement", placement},
		{"same name at both", sameNameAtBoth},
		{"same dot at both", sameDotAtBoth},
		{"one stops", oneStops},
		{"two on one pool", twoOnOnePool},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, a, b) })
	}
}

// placement: a volume is on the pool of the server that made it, and what cannot
// be done elsewhere is refused with the node that has it.
func placement(t *testing.T, a, b *member) {
	v, err := a.create(t, "placed", "placed")
	must(t, err)
	if got := len(a.branches(t)); got != 1 {
		t.Errorf("%d datasets on the pool of node-a, want 1", got)
	}
	if got := b.branches(t); len(got) != 0 {
		t.Errorf("datasets on the pool of node-b: %v", got)
	}
	publish := func(via *member, node string) error {
		_, err := via.api.Volumes.PublishVolume(t.Context(), connect.NewRequest(&dotmeshv1.PublishVolumeRequest{Volume: v.GetId(), Node: node}))
		return err
	}
	for _, via := range []*member{a, b} {
		refused(t, "publish elsewhere", publish(via, "node-b"))
		must(t, publish(via, "node-a"))
	}
	snapshot := func(via *member) error {
		_, err := via.api.Volumes.CreateSnapshot(t.Context(), connect.NewRequest(&dotmeshv1.CreateSnapshotRequest{CsiName: "snap", Volume: v.GetId()}))
		return err
	}
	refused(t, "commit elsewhere", snapshot(b))
	must(t, snapshot(a))
	_, err = b.create(t, "joins", "placed")
	refused(t, "join elsewhere", err)
	_, err = b.api.Dots.Commit(t.Context(), connect.NewRequest(&dotmeshv1.CommitRequest{Dot: "admin/placed", Message: "by hand"}))
	refused(t, "dm commit elsewhere", err)
}

// refused wants FAILED_PRECONDITION and the name of the node that has the dot.
func refused(t *testing.T, what string, err error) {
	t.Helper()
	if connect.CodeOf(err) != connect.CodeFailedPrecondition || !strings.Contains(err.Error(), "node-a") {
		t.Errorf("%s: got %v, want a failed precondition that names node-a", what, err)
	}
}

// sameNameAtBoth: a retry that reaches the other server makes no second volume.
func sameNameAtBoth(t *testing.T, a, b *member) {
	before := len(a.branches(t)) + len(b.branches(t))
	ids := atBoth(a, b, func(m *member) (string, error) {
		v, err := m.create(t, "raced", "")
		return v.GetId(), err
	})
	if len(ids) != 1 {
		t.Errorf("one CSI name at two servers at once gave the volumes %v, want one", ids)
	}
	if got := len(a.branches(t)) + len(b.branches(t)) - before; got != 1 {
		t.Errorf("%d datasets were made, want 1", got)
	}
}

// sameDotAtBoth: two claims that name a dot which is not there make one dot.
func sameDotAtBoth(t *testing.T, a, b *member) {
	before := len(a.branches(t)) + len(b.branches(t))
	ids := atBoth(a, b, func(m *member) (string, error) {
		v, err := m.create(t, "of-"+m.node, "both")
		return v.GetId(), err
	})
	if len(ids) != 1 {
		t.Errorf("a new dot at two servers at once gave the volumes %v; one server has the dot, the other must refuse", ids)
	}
	if got := len(a.branches(t)) + len(b.branches(t)) - before; got != 1 {
		t.Errorf("%d datasets were made, want 1", got)
	}
}

// atBoth calls both servers at once, again while they ask for it, and gives the
// different answers that were no errors.
func atBoth(a, b *member, call func(*member) (string, error)) map[string]bool {
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]bool{}
	for _, m := range []*member{a, b} {
		wg.Go(func() {
			for range 20 {
				id, err := call(m)
				if err == nil {
					mu.Lock()
					ids[id] = true
					mu.Unlock()
				}
				if code := connect.CodeOf(err); err == nil || code != connect.CodeAborted && code != connect.CodeUnavailable {
					return
				}
			}
		})
	}
	wg.Wait()
	return ids
}

// oneStops: the other goes on, and what was stopped serves again.
func oneStops(t *testing.T, a, b *member) {
	must(t, a.stop())
	if alive := a.site.registry(t, "alive/"); len(alive) != 1 {
		t.Errorf("the lease of a server that stopped is left: %v", alive)
	}
	_, err := b.create(t, "meanwhile", "")
	must(t, err)
	a.start(t)
	a.waitReady(t)
	_, err = a.create(t, "again", "")
	must(t, err)
}

// twoOnOnePool: a second server of a pool is kept out while the first serves.
func twoOnOnePool(t *testing.T, a, _ *member) {
	second := &member{site: a.site, node: a.node, pool: a.pool}
	second.start(t)
	for i := range 5 {
		if _, err := a.create(t, fmt.Sprintf("with-a-second-%d", i), ""); err != nil {
			t.Errorf("the first server does not serve any more: %v", err)
		}
		if _, err := second.create(t, fmt.Sprintf("by-the-second-%d", i), ""); err == nil {
			t.Error("a second server serves the same pool")
		}
	}
	_ = second.stop() // it may say why it could not serve
}
