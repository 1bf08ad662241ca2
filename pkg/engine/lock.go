package engine

import (
	"context"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/keylock"
)

// locks lets one call at a time work on a key; waiting ends with the context.
type locks[K comparable] struct{ set keylock.Set[K] }

// lock waits for the key and returns what releases it.
func (l *locks[K]) lock(ctx context.Context, key K) (unlock func(), err error) {
	if unlock, err = l.set.Lock(ctx, key); err != nil {
		return nil, dot.Errorf(dot.CodeAborted, "another operation on it is still running: %w", err)
	}
	return unlock, nil
}
