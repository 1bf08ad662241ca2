package server

import (
	"context"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/keylock"
)

// keyLocks serializes work on one thing within this process. It is for order,
// not for safety: what is correct is decided by the registry's transactions.
// Locks are taken in the order volume or snapshot, then dot.
type keyLocks struct{ keylock.Set[string] }

func newKeyLocks() *keyLocks { return &keyLocks{} }

// lock waits for its turn as long as ctx lives, and then tells that another call
// is at work on the thing. The caller must call unlock.
func (l *keyLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	if unlock, err = l.Lock(ctx, key); err != nil {
		return nil, dot.Errorf(dot.CodeAborted, "another call is at work on %s; try again", key)
	}
	return unlock, nil
}

func volumeLock(id dot.VolumeID) string { return "volume " + id.String() }
func dotLock(id dot.ID) string          { return "dot " + id.String() }
func snapshotLock(name string) string   { return "snapshot " + name }
