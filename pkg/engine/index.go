package engine

import (
	"sync"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// index remembers where branches and commits lie, so that no operation has to
// list the pool.
type index struct {
	mu       sync.Mutex
	branches map[dot.BranchID]indexedBranch
	commits  map[commitKey]indexedCommit
}

type indexedBranch struct {
	dot      dot.ID
	dataset  zfs.Dataset
	guid     uint64
	readOnly bool
}

// commitKey: two dots that were cloned from one remote can hold the same commit.
type commitKey struct {
	branch dot.BranchID
	commit dot.CommitID
}

type indexedCommit struct {
	snapshot zfs.Snapshot
	guid     uint64
	txg      uint64
	deleted  bool
}

// load replaces what is remembered.
func (x *index) load(inv Inventory) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.branches, x.commits = map[dot.BranchID]indexedBranch{}, map[commitKey]indexedCommit{}
	for _, b := range inv.Branches {
		x.branches[b.Branch.ID] = indexedBranch{dot: b.Branch.Dot, dataset: b.Dataset, guid: b.GUID, readOnly: b.Branch.ReadOnly}
	}
	for _, c := range inv.Commits {
		x.commits[commitKey{c.Commit.Branch, c.Commit.ID}] = indexedCommit{snapshot: c.Snapshot, guid: c.Commit.GUID, txg: c.CreateTXG, deleted: c.Deleted}
	}
}

func (x *index) branch(id dot.BranchID) (indexedBranch, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	b, ok := x.branches[id]
	return b, ok
}

// find answers CodeNotFound for a commit that is not here, or that has another
// GUID than the reference tells.
func (x *index) find(ref CommitRef) (indexedCommit, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c, ok := x.commits[commitKey{ref.Branch, ref.Commit}]
	if !ok {
		return indexedCommit{}, dot.NotFound("commit %s of branch %s is not on this pool", ref.Commit, ref.Branch)
	}
	if ref.GUID != 0 && ref.GUID != c.guid {
		return indexedCommit{}, dot.NotFound("commit %s of branch %s is not on this pool: the snapshot of that name has GUID %d, not %d", ref.Commit, ref.Branch, c.guid, ref.GUID)
	}
	return c, nil
}

// change runs f with the index held.
func (x *index) change(f func(x *index)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f(x)
}

// isPlain tells whether a dataset can be destroyed without a look at it, as far
// as is known: it holds no commit, and no origin waits for its last clone.
func (x *index) isPlain(dataset zfs.Dataset) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.commits {
		if c.deleted || c.snapshot.Dataset() == dataset {
			return false
		}
	}
	return true
}

// where gives, by the dataset that they lie under and the name of their snapshot,
// the commits that are wanted.
func (x *index) where(wanted func(commitKey, indexedCommit) bool) map[zfs.Dataset]map[string]CommitRef {
	x.mu.Lock()
	defer x.mu.Unlock()
	found := map[zfs.Dataset]map[string]CommitRef{}
	for key, c := range x.commits {
		if !wanted(key, c) {
			continue
		}
		dataset := c.snapshot.Dataset()
		if found[dataset] == nil {
			found[dataset] = map[string]CommitRef{}
		}
		found[dataset][c.snapshot.Name()] = CommitRef{Branch: key.branch, Commit: key.commit}
	}
	return found
}

// moved records that a promote put snapshots under another dataset.
func (x *index) moved(from, to zfs.Dataset, upTo uint64) error {
	var failed error
	x.change(func(x *index) {
		for key, c := range x.commits {
			if c.snapshot.Dataset() != from || c.txg > upTo {
				continue
			}
			snapshot, err := to.Snapshot(c.snapshot.Name())
			if err != nil {
				failed = err
				continue
			}
			c.snapshot = snapshot
			x.commits[key] = c
		}
	})
	return failed
}

// forget drops what was destroyed.
func (x *index) forget(snapshots ...zfs.Snapshot) {
	gone := make(map[zfs.Snapshot]bool, len(snapshots))
	for _, s := range snapshots {
		gone[s] = true
	}
	x.change(func(x *index) {
		for key, c := range x.commits {
			if gone[c.snapshot] {
				delete(x.commits, key)
			}
		}
	})
}

// HasBranch tells whether the branch's dataset is here. It starts no process.
func (e *Engine) HasBranch(id dot.BranchID) bool {
	_, ok := e.index.branch(id)
	return ok
}

// FindCommit tells where a commit is; CodeNotFound. It starts no process.
func (e *Engine) FindCommit(ref CommitRef) (Stored, error) {
	c, err := e.index.find(ref)
	if err != nil {
		return Stored{}, err
	}
	return Stored{GUID: c.guid, CreateTXG: c.txg}, nil
}

// here finds a branch that an operation needs.
func (e *Engine) here(id dot.BranchID) (indexedBranch, error) {
	b, ok := e.index.branch(id)
	if !ok {
		return indexedBranch{}, dot.NotFound("branch %s is not on this pool", id)
	}
	return b, nil
}
