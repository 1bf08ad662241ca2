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
		return nil, dot.Errorf(dot.CodeAborted, "another operation on %s is still running: %w; try again", what(key), err)
	}
	return unlock, nil
}

// what names the thing that a key stands for: there is one key for what all branches
// share.
func what(key any) string {
	if id, ok := key.(dot.BranchID); ok {
		return "branch " + id.String()
	}
	return "the pool's tree of datasets"
}
