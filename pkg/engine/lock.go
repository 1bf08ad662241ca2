package engine

import (
	"context"
	"sync"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// locks lets one call at a time work on a key; waiting ends with the context.
type locks[K comparable] struct {
	mu   sync.Mutex
	held map[K]*ticket
}

// ticket is one key's lock: a token in turn, and how many hold or want it.
type ticket struct {
	turn  chan struct{}
	users int
}

// lock waits for the key and returns what releases it.
func (l *locks[K]) lock(ctx context.Context, key K) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[K]*ticket{}
	}
	t := l.held[key]
	if t == nil {
		t = &ticket{turn: make(chan struct{}, 1)}
		l.held[key] = t
	}
	t.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(l.held, key)
		}
	}
	select {
	case t.turn <- struct{}{}:
		return func() { <-t.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, dot.Errorf(dot.CodeAborted, "another operation on it is still running: %w", context.Cause(ctx))
	}
}
