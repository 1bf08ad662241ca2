package engine

import (
	"context"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// HeadBytes is how much a branch's head holds, as of a few seconds ago. ZFS refuses
// a limit on its root that is less (zfsprops(7), refquota). One process.
func (e *Engine) HeadBytes(ctx context.Context, id dot.BranchID) (int64, error) {
	b, err := e.here(id)
	if err != nil {
		return 0, err
	}
	return e.referenced(ctx, b.dataset)
}

// CommitBytes is how much a branch holds that begins at a commit. One process.
func (e *Engine) CommitBytes(ctx context.Context, ref CommitRef) (int64, error) {
	c, err := e.index.find(ref)
	if err != nil {
		return 0, err
	}
	return e.referenced(ctx, c.snapshot)
}

func (e *Engine) referenced(ctx context.Context, t zfs.Target) (int64, error) {
	values, err := e.zfs.Get(ctx, t, zfs.PropReferenced)
	if err != nil {
		return 0, explain(err, "measuring %s", t)
	}
	bytes, err := values.Uint(zfs.PropReferenced)
	return int64(bytes), explain(err, "measuring %s", t)
}
