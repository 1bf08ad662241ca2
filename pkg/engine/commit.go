package engine

import (
	"context"
	"errors"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// Stored is a commit as it lies on this pool.
type Stored struct {
	GUID      uint64
	CreateTXG uint64
}

// Commit takes the snapshot of c.Branch named c.ID with all that c says as its
// properties. Commits asked for while others run go together in one process.
// One that exists already is what a retry meets: its GUID. When ctx ends first
// the commit may still be made.
func (e *Engine) Commit(ctx context.Context, c dot.Commit) (Stored, error) {
	if err := CheckCommit(c); err != nil {
		return Stored{}, err
	}
	if there, err := e.index.find(CommitRef{Branch: c.Branch, Commit: c.ID}); err == nil {
		if there.deleted {
			return Stored{}, dot.Precondition("commit %s was deleted, and is only kept for branches that were made from it", c.ID)
		}
		return Stored{GUID: there.guid, CreateTXG: there.txg}, nil
	}
	branch, err := e.here(c.Branch)
	if err != nil {
		return Stored{}, err
	}
	props, err := encodeCommit(c)
	if err != nil {
		return Stored{}, err
	}
	snapshot, err := branch.dataset.Snapshot(c.ID.String())
	if err != nil {
		return Stored{}, dot.Invalid("commit %s: %w", c.ID, err)
	}
	// One bad item would fail all that go with it.
	if err := props.Check(); err != nil {
		return Stored{}, dot.Invalid("commit %s: %w", c.ID, err)
	}
	if err := e.ensureReplayed(ctx, c.Branch, branch.dataset); err != nil {
		return Stored{}, err
	}
	result, err := e.gather.snapshot(ctx, zfs.SnapshotSpec{Snapshot: snapshot, Props: props})
	if err == nil {
		err = result.Err
	}
	if errors.Is(err, zfs.ErrExists) && result.GUID != 0 {
		err = nil // made by a try whose answer was lost
	}
	if err != nil {
		return Stored{}, explain(err, "committing branch %s", c.Branch)
	}
	return Stored{GUID: uint64(result.GUID), CreateTXG: result.CreateTXG}, nil
}

// AwaitCommits waits until it is known of every commit whose caller has given up
// before whether it was made.
func (e *Engine) AwaitCommits(ctx context.Context) error { return e.gather.await(ctx) }

// takeSnapshots indexes what a batch made, because its callers may be gone.
func (e *Engine) takeSnapshots(ctx context.Context, specs []zfs.SnapshotSpec) ([]zfs.SnapshotResult, error) {
	results, err := e.zfs.Snapshot(ctx, specs)
	if err != nil {
		return nil, err
	}
	e.index.change(func(x *index) {
		for i, result := range results {
			branch, err1 := dot.ParseBranchID(specs[i].Snapshot.Dataset().Base())
			id, err2 := dot.ParseCommitID(result.Snapshot.Name())
			if result.GUID == 0 || err1 != nil || err2 != nil {
				continue
			}
			x.commits[commitKey{branch, id}] = indexedCommit{snapshot: result.Snapshot, guid: uint64(result.GUID), txg: result.CreateTXG}
		}
	})
	return results, nil
}
