package server

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestKeyLocksSerializeAndLeaveNothing(t *testing.T) {
	l := newKeyLocks()
	inside, most := 0, 0
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			unlock, err := l.lock(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			inside--
			mu.Unlock()
		})
	}
	all.Wait()
	if most != 1 || len(l.held) != 0 {
		t.Errorf("got %d at once and %d locks left, want 1 and 0", most, len(l.held))
	}
}

func TestKeyLocksGiveUpWithTheContext(t *testing.T) {
	l := newKeyLocks()
	unlock, err := l.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := l.tryLock("a"); ok {
		t.Error("tryLock took a lock that is held")
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := l.lock(short, "a"); dot.CodeOf(err) != dot.CodeAborted {
		t.Errorf("got %v, want CodeAborted", err)
	}
	other, ok := l.tryLock("b")
	if !ok {
		t.Fatal("another key must be free")
	}
	other()
	unlock()
	unlock() // harmless
	again, ok := l.tryLock("a")
	if !ok {
		t.Fatal("the lock was not given back")
	}
	again()
	if len(l.held) != 0 {
		t.Errorf("%d locks left", len(l.held))
	}
}
