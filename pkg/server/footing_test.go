package server

import (
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

func TestFooting(t *testing.T) {
	const ours, other = "2b0e3c52-66cb-4a4d-8a3b-3c64d1b0f3a1", "7d1f0a1e-5a39-4c8b-9a55-0f0e5a7f9d10"
	s := testStore(t)
	pool := dot.PoolIDOf(7)
	mark := store.Recovery{Cluster: ours, Pool: pool, Node: "node-a"}
	dirty := dot.Dot{ID: dot.NewID(), State: dot.Ready}
	var err error
	if dirty.FullName, err = parseDotName("x"); err != nil {
		t.Fatal(err)
	}
	used := func(t *store.Txn) { t.PutDot(dirty) }
	key := func(id string) func(*store.Txn) {
		return func(t *store.Txn) { t.PutCluster(store.Cluster{ID: id, Incarnation: 3}) }
	}
	marked := func(t *store.Txn) { t.PutRecovery(mark) }
	for _, c := range []struct {
		what    string
		holds   []func(*store.Txn)
		owner   string
		pool    dot.PoolID
		seen    uint64 // incarnation
		recover bool

		id       string // "": a new one
		recovers bool
		refused  string
	}{
		{what: "both new"},
		{what: "both new, recover", recover: true},
		{what: "a new pool", holds: []func(*store.Txn){key(other), used}, id: other},
		{what: "a start as usual", holds: []func(*store.Txn){key(ours), used}, owner: ours, id: ours},
		{what: "the registry is lost", owner: ours, refused: "start once with --recover"},
		{what: "the registry is lost, recover", owner: ours, recover: true, id: ours, recovers: true},
		{what: "a registry that was never used", holds: []func(*store.Txn){key(other)}, owner: ours, recover: true, id: ours, recovers: true},
		// --recover stays in the Deployment: a restart is a start as usual.
		{what: "our registry in use, recover", holds: []func(*store.Txn){key(ours), used}, owner: ours, recover: true, id: ours},
		{what: "a pool that has seen as much", holds: []func(*store.Txn){key(ours), used}, owner: ours, seen: 3, id: ours},
		{what: "a backup from before a recovery", holds: []func(*store.Txn){key(ours), used}, owner: ours, seen: 4, refused: "empty it and start with --recover"},
		{what: "a backup from before a recovery, recover", holds: []func(*store.Txn){key(ours), used}, owner: ours, seen: 4, recover: true, refused: "empty it and start with --recover"},
		{what: "it was emptied", owner: ours, seen: 4, recover: true, id: ours, recovers: true},
		{what: "another registry in use, recover", holds: []func(*store.Txn){key(other), used}, owner: ours, recover: true, refused: "is in use"},
		{what: "a registry in use, a new pool, recover", holds: []func(*store.Txn){key(ours), used}, recover: true, refused: "is in use"},
		// An interrupted recovery, of a registry that had a key and of one that had none.
		{what: "interrupted, with a key", holds: []func(*store.Txn){key(other), used, marked}, owner: ours, refused: "once more with --recover"},
		{what: "interrupted, without a key", holds: []func(*store.Txn){used, marked}, owner: ours, refused: "once more with --recover"},
		{what: "interrupted, a new pool", holds: []func(*store.Txn){key(other), marked}, pool: dot.PoolIDOf(8), refused: "node \"node-a\""},
		{what: "interrupted, another pool recovers", holds: []func(*store.Txn){key(other), marked}, owner: ours, pool: dot.PoolIDOf(8), recover: true, refused: "node \"node-a\""},
		{what: "going on, with a key", holds: []func(*store.Txn){key(other), used, marked}, owner: ours, recover: true, id: ours, recovers: true},
		{what: "going on, without a key", holds: []func(*store.Txn){used, marked}, owner: ours, recover: true, id: ours, recovers: true},
	} {
		t.Run(c.what, func(t *testing.T) {
			clean := s.Txn().Delete(store.ClusterKey()).Delete(store.RecoveringKey()).DeleteDot(dirty.ID)
			for _, put := range c.holds {
				put(clean)
			}
			if err := clean.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			root := engine.Identity{Pool: pool, Cluster: c.owner, Incarnation: c.seen}
			if !c.pool.IsZero() {
				root.Pool = c.pool
			}
			got, err := findFooting(t.Context(), s, root, c.recover)
			if c.refused != "" {
				if dot.CodeOf(err) != dot.CodePrecondition || err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("got %+v, %v, want a refusal with %q", got, err, c.refused)
				}
				return
			}
			if err != nil || got.recover != c.recovers || got.id == "" || c.id != "" && got.id != c.id {
				t.Errorf("got %+v, %v, want id %q, recovers %t", got, err, c.id, c.recovers)
			}
			if !c.recovers {
				return
			}
			first, err := markRecovery(t.Context(), s, got, mark)
			if err != nil {
				t.Fatal(err)
			}
			if rec, err := s.GetRecovery(t.Context()); err != nil || rec.Revision != first {
				t.Errorf("got %+v, %v, want the mark at %d", rec, err, first)
			}
		})
	}
}
