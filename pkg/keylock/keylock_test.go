package keylock

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestLocksSerializeAndLeaveNothing(t *testing.T) {
	var s Set[string]
	inside, most := 0, 0
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			unlock, err := s.Lock(t.Context(), "a")
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
	if most != 1 || len(s.held) != 0 {
		t.Errorf("got %d at once and %d locks left, want 1 and 0", most, len(s.held))
	}
}

func TestLocksGiveUpWithTheContext(t *testing.T) {
	var s Set[int]
	unlock, err := s.Lock(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.TryLock(1); ok {
		t.Error("TryLock took a lock that is held")
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(short, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	other, ok := s.TryLock(2)
	if !ok {
		t.Fatal("another key must be free")
	}
	other()
	unlock()
	unlock() // harmless
	again, ok := s.TryLock(1)
	if !ok {
		t.Fatal("the lock was not given back")
	}
	again()
	if len(s.held) != 0 {
		t.Errorf("%d locks left", len(s.held))
	}
}
