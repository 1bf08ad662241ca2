//go:build zfs

package cluster

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// nodes is how many servers there are, each with a pool of its own.
const nodes = 3

// smaller is how many bytes the last pool has less than the others.
const smaller = 96 << 20

type members [nodes]*member

// TestServers runs its cases one after another on the same servers, because a pool
// and a server take seconds to make.
func TestServers(t *testing.T) {
	s := newSite(t)
	var m members
	for i := range m {
		size := int64(poolSize)
		if i == nodes-1 {
			size -= smaller
		}
		m[i] = s.newMember(t, fmt.Sprintf("node-%c", 'a'+i), size)
	}
	for _, key := range []string{"pools/", "alive/"} {
		if got := s.registry(t, key); len(got) != nodes {
			t.Fatalf("the registry has %v, want a key of each server", got)
		}
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, members)
	}{
		{"placement", placement},
		{"room", capacity},
		{"volumes by the wrong server", volumesByTheWrongServer},
		{"dm by the wrong server", dmByTheWrongServer},
		{"same name at all", sameNameAtAll},
		{"same dot at all", sameDotAtAll},
		{"who says to call for others", forgers},
		{"one is away", oneIsAway},
		{"a retry elsewhere at each step", retryElsewhere},
		{"one stops", oneStops},
		{"two on one pool", twoOnOnePool},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, m) })
	}
}

// datasets counts those of all pools.
func (m members) datasets(t *testing.T) int {
	t.Helper()
	all := 0
	for _, of := range m {
		all += len(of.branches(t))
	}
	return all
}

// placement: a new dot lies where its pod is to run, and without a pod on the pool
// with most room, whichever server was asked.
func placement(t *testing.T, m members) {
	for _, via := range m {
		for _, on := range m {
			before := len(on.branches(t))
			v, err := via.create(t.Context(), via.node+" on "+on.node, "", on.node)
			must(t, err)
			if got := len(on.branches(t)) - before; v.GetNode() != on.node || got != 1 {
				t.Errorf("a dot for a pod on %s, asked of %s, is on node %q; %d datasets were made on the right pool", on.node, via.node, v.GetNode(), got)
			}
		}
	}
	for _, via := range m {
		v, err := via.create(t.Context(), "for nobody, by "+via.node, "")
		must(t, err)
		if v.GetNode() == m[2].node {
			t.Errorf("a dot for no pod, asked of %s, is on the pool with least room", via.node)
		}
	}
	_, err := m[1].create(t.Context(), "nowhere", "", "node-x")
	refused(t, "a dot for a pod on a node without a pool", err, dot.CodeExhausted, "node-x")
}

// capacity: every server tells how much room each node has, now.
func capacity(t *testing.T, m members) {
	for _, via := range m {
		left := func(node string) int64 {
			t.Helper()
			room, err := retried(func() (*dotmeshv1.GetCapacityResponse, error) {
				return call(t.Context(), via.api.Volumes.GetCapacity, &dotmeshv1.GetCapacityRequest{Node: node})
			})
			must(t, err)
			return room.GetAvailableBytes()
		}
		least, other := left(m[2].node), left(m[1].node)
		if least <= 0 || other-least < smaller/2 {
			t.Errorf("%s: node-c, whose pool is the smaller, has %d bytes left, and node-b %d", via.node, least, other)
		}
		if none := left("node-x"); none != 0 {
			t.Errorf("%s: a node without a pool has %d bytes left", via.node, none)
		}
		eventually(t, "all servers tell", func() error { // each has little time
			if all := left(""); all <= other+least {
				return fmt.Errorf("%s: all nodes together have %d bytes left", via.node, all)
			}
			return nil
		})
	}
}

// refused wants an error of a code that says something.
func refused(t *testing.T, what string, err error, code dot.Code, says string) {
	t.Helper()
	if err == nil || dot.CodeOf(err) != code || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: got %v, want code %d and %q", what, err, code, says)
	}
}

// sameNameAtAll: a retry that reaches another server makes no second volume, also
// while the first try is still under way.
func sameNameAtAll(t *testing.T, m members) {
	for round := range 3 {
		before := m.datasets(t)
		ids := m.atAll(t, func(via *member) (string, error) {
			// Without a node each server decides by itself.
			v, err := via.create(t.Context(), fmt.Sprintf("raced-%d", round), "")
			return v.GetId(), err
		})
		if got := m.datasets(t) - before; len(ids) != 1 || got != 1 {
			t.Errorf("one CSI name at all servers at once gave the volumes %v and %d datasets, want one", ids, got)
		}
	}
}

// sameDotAtAll: claims that name a dot which is not there make one dot, and all get it.
func sameDotAtAll(t *testing.T, m members) {
	for round := range 3 {
		before, name := m.datasets(t), fmt.Sprintf("both-%d", round)
		ids := m.atAll(t, func(via *member) (string, error) {
			v, err := via.create(t.Context(), fmt.Sprintf("of-%s-%d", via.node, round), name)
			return v.GetId(), err
		})
		if got := m.datasets(t) - before; len(ids) != nodes || got != 1 {
			t.Errorf("claims on one new dot, one at each server, gave the volumes %v and %d datasets, want %d and 1", ids, got, nodes)
		}
	}
}

// atAll calls all servers at once, again while they ask for it, and gives the
// different answers.
func (m members) atAll(t *testing.T, call func(*member) (string, error)) map[string]bool {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]bool{}
	for _, via := range m {
		wg.Go(func() {
			id, err := retried(func() (string, error) { return call(via) })
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("%s: %v", via.node, err)
				return
			}
			ids[id] = true
		})
	}
	wg.Wait()
	return ids
}

// retried calls again while the answer asks for it, as a sidecar does: with pauses
// that grow, until its patience ends.
func retried[R any](call func() (R, error)) (answer R, err error) {
	pause := 10 * time.Millisecond
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		answer, err = call()
		code := dot.CodeOf(err)
		if err == nil || code != dot.CodeAborted && code != dot.CodeUnavailable || time.Now().After(deadline) {
			return answer, err
		}
		pause = min(2*pause, time.Second)
	}
}

// oneStops: the others go on, and what was stopped serves again.
func oneStops(t *testing.T, m members) {
	must(t, m[0].stop())
	if alive := m[0].site.registry(t, "alive/"); len(alive) != nodes-1 {
		t.Errorf("the lease of a server that stopped is left: %v", alive)
	}
	_, err := m[1].create(t.Context(), "meanwhile", "")
	must(t, err)
	m[0].start(t)
	m[0].waitReady(t)
	_, err = m[0].create(t.Context(), "again", "", m[0].node)
	must(t, err)
}

// twoOnOnePool: a second server of a pool is kept out while the first serves.
func twoOnOnePool(t *testing.T, m members) {
	first := m[0]
	second := &member{site: first.site, node: first.node, pool: first.pool}
	second.start(t)
	for i := range 5 {
		if _, err := first.create(t.Context(), fmt.Sprintf("with-a-second-%d", i), "", first.node); err != nil {
			t.Errorf("the first server does not serve any more: %v", err)
		}
		if _, err := second.create(t.Context(), fmt.Sprintf("by-the-second-%d", i), ""); err == nil {
			t.Error("a second server serves the same pool")
		}
	}
	_ = second.stop() // it may say why it could not serve
}
