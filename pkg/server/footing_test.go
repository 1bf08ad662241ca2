package server

import (
	"errors"
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// footingCase is what registry and root say, and what a start makes of it.
type footingCase struct {
	what    string
	holds   []func(*store.Txn)
	owner   string
	pool    dot.PoolID
	seen    uint64 // incarnation
	recover bool

	id       string // "": a new one
	recovers bool
	refused  string
	waits    string
}

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
	// As of before the registry was raised for another pool.
	behind := func(t *store.Txn) { t.PutPool(dot.Pool{ID: pool, Node: "node-a", Incarnation: 2}) }
	marked := func(t *store.Txn) { t.PutRecovery(mark) }
	known := func(id dot.PoolID) func(*store.Txn) {
		return func(t *store.Txn) { t.PutPool(dot.Pool{ID: id, Node: "node-a", Incarnation: 3}) }
	}
	for _, c := range []footingCase{
		{what: "both new"},
		{what: "both new, recover", recover: true, waits: "waits for that of a pool which has served before"},
		{what: "a new pool", holds: []func(*store.Txn){key(other), used}, id: other},
		{what: "a start as usual", holds: []func(*store.Txn){key(ours), used, known(pool)}, owner: ours, seen: 3, id: ours},
		{what: "a first start that was interrupted", holds: []func(*store.Txn){key(ours), used}, owner: ours, id: ours},
		{what: "the registry is lost", owner: ours, refused: "start with --recover"},
		{what: "the registry is lost, recover", owner: ours, recover: true, id: ours, recovers: true},
		{what: "a registry that was never used", holds: []func(*store.Txn){key(other)}, owner: ours, recover: true, id: ours, recovers: true},
		{what: "a registry that was never used, no leave", holds: []func(*store.Txn){key(other)}, owner: ours, refused: "start with --recover"},
		{what: "a registry that another pool has begun", holds: []func(*store.Txn){key(other), known(dot.PoolIDOf(8))}, owner: ours, recover: true, refused: "has begun cluster"},
		{what: "a registry that this pool was in once", holds: []func(*store.Txn){key(other), known(pool)}, owner: ours, recover: true, id: ours, recovers: true},
		{what: "another registry in use", holds: []func(*store.Txn){key(other), used}, owner: ours, id: other}, // the engine refuses it
		// Leave to recover may stay: a restart is a start as usual.
		{what: "our registry in use, recover", holds: []func(*store.Txn){key(ours), used, known(pool)}, owner: ours, seen: 3, recover: true, id: ours},
		{what: "our registry, with nothing in it, recover", holds: []func(*store.Txn){key(ours), known(pool)}, owner: ours, seen: 3, recover: true, id: ours},
		{what: "a backup from before a recovery", holds: []func(*store.Txn){key(ours), used, known(pool)}, owner: ours, seen: 4, refused: "empty it and start with --recover"},
		{what: "a backup from before a recovery, recover", holds: []func(*store.Txn){key(ours), used, known(pool)}, owner: ours, seen: 4, recover: true, refused: "empty it and start with --recover"},
		{what: "a start after a pool was added that has seen more", holds: []func(*store.Txn){key(ours), used, behind}, owner: ours, seen: 2, id: ours},
		{what: "a backup to which such a pool was added", holds: []func(*store.Txn){key(ours), used, behind}, owner: ours, seen: 3, refused: "empty it and start with --recover"},
		{what: "it was emptied", owner: ours, seen: 4, recover: true, id: ours, recovers: true},
		{what: "another registry in use, recover", holds: []func(*store.Txn){key(other), used}, owner: ours, recover: true, refused: "is in use"},
		{what: "a registry in use, a new pool, recover", holds: []func(*store.Txn){key(ours), used}, recover: true, id: ours},
		// Left out by a recovery from another pool, or by a backup.
		{what: "left out", holds: []func(*store.Txn){key(ours), used, known(dot.PoolIDOf(8))}, owner: ours, seen: 2, refused: "nothing was changed; have it added to the registry: start with --recover"},
		{what: "left out, recover", holds: []func(*store.Txn){key(ours), used, known(dot.PoolIDOf(8))}, owner: ours, seen: 2, recover: true, id: ours, recovers: true},
		{what: "left out, and has seen more", holds: []func(*store.Txn){key(ours), used}, owner: ours, seen: 9, recover: true, id: ours, recovers: true},
		// An interrupted recovery, of a registry that had a key and of one that had none.
		{what: "interrupted, with a key", holds: []func(*store.Txn){key(other), used, marked, known(pool)}, owner: ours, refused: "start with --recover"},
		{what: "interrupted, without a key", holds: []func(*store.Txn){used, marked, known(pool)}, owner: ours, refused: "start with --recover"},
		{what: "interrupted, of a pool that joined", holds: []func(*store.Txn){key(ours), used, marked, known(pool)}, owner: ours, seen: 3, refused: "start with --recover"},
		{what: "going on, with a key", holds: []func(*store.Txn){key(other), used, marked, known(pool)}, owner: ours, recover: true, id: ours, recovers: true},
		{what: "going on, without a key", holds: []func(*store.Txn){used, marked, known(pool)}, owner: ours, recover: true, id: ours, recovers: true},
		{what: "going on, of a pool that joined", holds: []func(*store.Txn){key(ours), used, marked, known(pool)}, owner: ours, seen: 3, recover: true, id: ours, recovers: true},
		// That of another pool.
		{what: "another's, a new pool", holds: []func(*store.Txn){key(other), marked}, pool: dot.PoolIDOf(8), waits: "node \"node-a\""},
		{what: "another's, a new pool, no key", holds: []func(*store.Txn){marked}, pool: dot.PoolIDOf(8), waits: "node \"node-a\""},
		{what: "another's, to be recovered too", holds: []func(*store.Txn){key(other), marked}, owner: ours, pool: dot.PoolIDOf(8), recover: true, waits: "node \"node-a\""},
		{what: "another's, to be added too", holds: []func(*store.Txn){key(ours), marked, used}, owner: ours, seen: 2, pool: dot.PoolIDOf(8), recover: true, waits: "node \"node-a\""},
		{what: "another's, a pool that serves", holds: []func(*store.Txn){key(ours), marked, used, known(dot.PoolIDOf(8))}, owner: ours, seen: 3, pool: dot.PoolIDOf(8), id: ours},
	} {
		t.Run(c.what, func(t *testing.T) {
			clean := s.Txn().Delete(store.ClusterKey()).Delete(store.RecoveringKey()).DeleteDot(dirty.ID).Delete(store.PoolKey(pool)).Delete(store.PoolKey(dot.PoolIDOf(8)))
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
			c.check(t, s, root, mark)
		})
	}
}

func (c footingCase) check(t *testing.T, s *store.Store, root engine.Identity, mark store.Recovery) {
	t.Helper()
	got, err := findFooting(t.Context(), s, root, c.recover)
	if c.refused != "" || c.waits != "" {
		if err == nil || !strings.Contains(err.Error(), c.refused+c.waits) || passes(err) != (c.waits != "") || c.refused != "" && dot.CodeOf(err) != dot.CodePrecondition {
			t.Errorf("got %+v, %v, want a refusal with %q, or to wait with %q", got, err, c.refused, c.waits)
		}
		if leave := strings.Contains(c.refused, "start with --recover") && !c.recover && !strings.Contains(c.refused, "empty it"); errors.Is(err, errNeedsLeave) != leave {
			t.Errorf("got %v: that leave would help is %t, want %t", err, !leave, leave)
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
	if _, err := s.GetPool(t.Context(), root.Pool); err != nil {
		t.Errorf("the pool is not registered with the mark: %v", err)
	}
	after := store.Cluster{ID: got.id, Incarnation: 9}
	if err := endRecovery(t.Context(), s, got, recoveredPool(root.Pool, ""), after, first); err != nil {
		t.Fatal(err)
	}
	now, err1 := s.GetCluster(t.Context())
	known, err2 := s.GetPool(t.Context(), root.Pool)
	_, marked, err3 := found(s.GetRecovery(t.Context()))
	if err := firstError(err1, err2, err3); err != nil || marked || now.Value != after || known.Value.Incarnation != 9 {
		t.Errorf("after it: %+v, %+v, marked %t, %v", now.Value, known.Value, marked, err)
	}
}

// TestTwoPoolsBeginToRecover: one has the mark, the other waits for it, and is added
// to what the first has made.
func TestTwoPoolsBeginToRecover(t *testing.T) {
	const cluster = "2b0e3c52-66cb-4a4d-8a3b-3c64d1b0f3a1"
	s := testStore(t)
	roots := []engine.Identity{{Pool: dot.PoolIDOf(7), Cluster: cluster, Incarnation: 2}, {Pool: dot.PoolIDOf(8), Cluster: cluster, Incarnation: 5}}
	var begun []footing
	for _, root := range roots {
		f, err := findFooting(t.Context(), s, root, true)
		if err != nil || !f.recover {
			t.Fatalf("got %+v, %v", f, err)
		}
		begun = append(begun, f)
	}
	mark := func(f footing, root engine.Identity) (int64, store.Cluster, error) {
		c := f.clusterAfter(engine.Inventory{Incarnation: root.Incarnation})
		at, err := markRecovery(t.Context(), s, f, store.Recovery{Cluster: c.ID, Pool: root.Pool, Node: "n", Incarnation: c.Incarnation})
		return at, c, err
	}
	at, c, err := mark(begun[0], roots[0])
	if err != nil || c.Incarnation != 3 {
		t.Fatalf("the first: %+v, %v", c, err)
	}
	if _, _, err := mark(begun[1], roots[1]); !errors.Is(err, store.ErrConflict) || !passes(err) {
		t.Errorf("the second: got %v, want a conflict, after which it tries again", err)
	}
	if err := s.Txn().Unchanged(store.RecoveringKey(), at).PutCluster(c).Delete(store.RecoveringKey()).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f, err := findFooting(t.Context(), s, roots[1], true)
	if err != nil || !f.recover {
		t.Fatalf("the second: got %+v, %v", f, err)
	}
	if _, c, err := mark(f, roots[1]); err != nil || c.Incarnation != 6 {
		t.Errorf("the second: got %+v, %v, want an incarnation that it has not seen", c, err)
	}
}
