// Package keylock lets one caller at a time work on each of many things, which are
// named by keys: a lock exists only while somebody has it or waits for it.
package keylock

import (
	"context"
	"sync"
)

// Set holds the locks of one kind of key. The zero value is ready; it is safe for
// use by several goroutines.
type Set[K comparable] struct {
	mu   sync.Mutex
	held map[K]*lock // guarded by mu
}

// lock is one key's: turn is full while somebody has it, users have or want it.
type lock struct {
	turn  chan struct{}
	users int // guarded by Set.mu
}

// Lock waits for its turn as long as ctx lives; the error is why ctx ended. unlock
// may be called more than once.
func (s *Set[K]) Lock(ctx context.Context, key K) (unlock func(), err error) {
	s.mu.Lock()
	l := s.held[key]
	if l == nil {
		l = s.add(key)
	}
	l.users++
	s.mu.Unlock()
	select {
	case l.turn <- struct{}{}:
		return s.unlocker(key, l), nil
	case <-ctx.Done():
		s.leave(key, l)
		return nil, context.Cause(ctx)
	}
}

// TryLock takes the lock if nobody has it or waits for it.
func (s *Set[K]) TryLock(key K) (unlock func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[key] != nil {
		return nil, false
	}
	l := s.add(key)
	l.users++
	l.turn <- struct{}{}
	return s.unlocker(key, l), true
}

// add makes a key's lock; the caller holds s.mu.
func (s *Set[K]) add(key K) *lock {
	if s.held == nil {
		s.held = map[K]*lock{}
	}
	l := &lock{turn: make(chan struct{}, 1)}
	s.held[key] = l
	return l
}

func (s *Set[K]) unlocker(key K, l *lock) func() {
	return sync.OnceFunc(func() {
		<-l.turn
		s.leave(key, l)
	})
}

func (s *Set[K]) leave(key K, l *lock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(s.held, key)
	}
}
