package server

import (
	"context"
	"sync"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// keyLocks serializes work on one thing within this process. It is for order,
// not for safety: what is correct is decided by the registry's transactions.
// Locks are taken in the order volume or snapshot, then dot.
type keyLocks struct {
	mu   sync.Mutex
	held map[string]*keyLock
}

type keyLock struct {
	turn    chan struct{} // holds one token while the lock is free
	waiting int
}

func newKeyLocks() *keyLocks { return &keyLocks{held: map[string]*keyLock{}} }

// lock waits for its turn as long as ctx lives, and then tells that another call
// is at work on the thing. The caller must call unlock.
func (l *keyLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	l.mu.Lock()
	k, ok := l.held[key]
	if !ok {
		k = &keyLock{turn: make(chan struct{}, 1)}
		k.turn <- struct{}{}
		l.held[key] = k
	}
	k.waiting++
	l.mu.Unlock()
	select {
	case <-k.turn:
		return sync.OnceFunc(func() { k.turn <- struct{}{}; l.leave(key, k) }), nil
	case <-ctx.Done():
		l.leave(key, k)
		return nil, dot.Errorf(dot.CodeAborted, "another call is at work on %s; try again", key)
	}
}

// tryLock takes the lock if nobody has it or waits for it.
func (l *keyLocks) tryLock(key string) (unlock func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, busy := l.held[key]; busy {
		return nil, false
	}
	k := &keyLock{turn: make(chan struct{}, 1), waiting: 1}
	l.held[key] = k
	return sync.OnceFunc(func() { k.turn <- struct{}{}; l.leave(key, k) }), true
}

func (l *keyLocks) leave(key string, k *keyLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.waiting--; k.waiting == 0 {
		delete(l.held, key)
	}
}

func volumeLock(id dot.VolumeID) string { return "volume " + id.String() }
func dotLock(id dot.ID) string          { return "dot " + id.String() }
func snapshotLock(name string) string   { return "snapshot " + name }
