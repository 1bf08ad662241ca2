package store

import (
	"context"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func next(t *testing.T, events <-chan Event) Event {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the watch ended")
		}
		return e
	case <-time.After(15 * time.Second):
		t.Fatal("no event")
	}
	return Event{}
}

func putPool(t *testing.T, s *Store, id uint64, name string) int64 {
	t.Helper()
	txn := s.Txn().PutPool(dot.Pool{ID: dot.PoolIDOf(id), Name: name})
	commit(t, txn)
	return txn.Revision()
}

func wantPool(t *testing.T, e Event, id uint64, name string) {
	t.Helper()
	got, err := poolCodec.decode(e.Key, e.Value)
	if err != nil || e.Resync || e.Deleted() || got.Name != name || e.Key != PoolKey(dot.PoolIDOf(id)) {
		t.Fatalf("got %+v (%v), want pool %d as %q", e, err, id, name)
	}
}

func wantResync(t *testing.T, e Event, keys ...Key) {
	t.Helper()
	if !e.Resync || len(e.Now) != len(keys) {
		t.Fatalf("got %+v, want a resync of %v", e, keys)
	}
	for i, k := range keys {
		if e.Now[i].Key != k {
			t.Errorf("got %s, want %s", e.Now[i].Key, k)
		}
	}
}

func TestWatchTellsOfChanges(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	putPool(t, s, 1, "before")
	events := s.Watch(ctx, Of(KindPools), 0)
	wantResync(t, next(t, events), PoolKey(dot.PoolIDOf(1)))
	commit(t, s.Txn().PutUser(User{Name: dot.DefaultNamespace})) // not below the prefix
	putPool(t, s, 2, "two")
	wantPool(t, next(t, events), 2, "two")
	commit(t, s.Txn().Delete(PoolKey(dot.PoolIDOf(1))))
	if e := next(t, events); !e.Deleted() || e.Key != PoolKey(dot.PoolIDOf(1)) {
		t.Errorf("got %+v, want the deletion of pool 1", e)
	}
	cancel()
	for range events { // must end
	}
}

func TestWatchFromARevision(t *testing.T) {
	t.Parallel()
	s := open(t)
	putPool(t, s, 1, "one")
	from := putPool(t, s, 2, "two")
	putPool(t, s, 3, "three")
	events := s.Watch(within(t, 30*time.Second), Of(KindPools), from)
	wantPool(t, next(t, events), 2, "two")
	wantPool(t, next(t, events), 3, "three")
}

func TestWatchAcrossCompaction(t *testing.T) {
	t.Parallel()
	s := openOwn(t)
	from := putPool(t, s, 1, "one")
	putPool(t, s, 1, "one again")
	putPool(t, s, 2, "two")
	compact(t, s)
	events := s.Watch(within(t, 30*time.Second), Of(KindPools), from)
	wantResync(t, next(t, events), PoolKey(dot.PoolIDOf(1)), PoolKey(dot.PoolIDOf(2)))
	putPool(t, s, 3, "three")
	wantPool(t, next(t, events), 3, "three")
	compact(t, s)
	putPool(t, s, 4, "four")
	wantPool(t, next(t, events), 4, "four")
}

func TestWatchAcrossARestart(t *testing.T) {
	t.Parallel()
	endpoint, stop, start := ownEtcd(t)
	s := openAt(t, Config{Endpoints: []string{endpoint}})
	events := s.Watch(within(t, 60*time.Second), Of(KindPools), 0)
	wantResync(t, next(t, events))
	putPool(t, s, 1, "one")
	wantPool(t, next(t, events), 1, "one")
	stop()
	time.Sleep(2 * time.Second)
	start()
	eventually(t, 10*time.Second, "the store works again", func() bool { return s.Ping(context.Background()) == nil })
	// What changes before the watch is back must not be missed, compacted or not.
	putPool(t, s, 2, "two")
	wantPool(t, next(t, events), 2, "two")
}

func TestSlowReaderMissesNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	events := s.Watch(within(t, 60*time.Second), Of(KindPools), 0)
	wantResync(t, next(t, events))
	const many = 200
	txn := s.Txn()
	for i := range many {
		txn.PutPool(dot.Pool{ID: dot.PoolIDOf(uint64(i + 1))})
		if len(txn.changes) == maxTxnOps || i == many-1 {
			commit(t, txn)
			txn = s.Txn()
		}
	}
	time.Sleep(200 * time.Millisecond)
	seen := map[Key]bool{}
	for range many {
		seen[next(t, events).Key] = true
	}
	if len(seen) != many {
		t.Errorf("got %d different keys, want %d", len(seen), many)
	}
}

func TestWatchEndsWithTheStore(t *testing.T) {
	t.Parallel()
	s := openAt(t, Config{Endpoints: []string{shared.endpoint(t)}, Prefix: "/" + t.Name() + "/"})
	events := s.Watch(context.Background(), everything, 0)
	wantResync(t, next(t, events))
	s.Close()
	select {
	case _, ok := <-events:
		if ok {
			t.Error("an event of a closed store")
		}
	case <-time.After(5 * time.Second):
		t.Error("the watch goes on")
	}
}
