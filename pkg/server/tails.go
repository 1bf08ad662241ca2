package server

import (
	"context"
	"sync"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// tails gives each new commit its place in its branch: the next sequence number
// and its parent. Places are given in memory, so that commits of one branch can
// run at once; a commit that is then not made leaves a gap, which harms nothing.
// At start the last place is read from the registry, when settling has left no
// commit half-made.
type tails struct {
	store *store.Store

	mu       sync.Mutex
	byBranch map[dot.BranchID]*tail
}

type tail struct {
	mu       sync.Mutex
	read     bool
	sequence uint64
	commit   dot.CommitID
}

func newTails(s *store.Store) *tails {
	return &tails{store: s, byBranch: map[dot.BranchID]*tail{}}
}

// next gives c a place behind all that have one. A commit that already is the
// last keeps its place.
func (t *tails) next(ctx context.Context, c *dot.Commit) error {
	t.mu.Lock()
	last, ok := t.byBranch[c.Branch]
	if !ok {
		last = &tail{}
		t.byBranch[c.Branch] = last
	}
	t.mu.Unlock()

	last.mu.Lock()
	defer last.mu.Unlock()
	if !last.read {
		commits, err := t.store.ListCommits(ctx, c.Dot)
		if err != nil {
			return err
		}
		for _, rec := range commits {
			if rec.Value.Branch == c.Branch && rec.Value.Sequence > last.sequence {
				last.sequence, last.commit = rec.Value.Sequence, rec.Value.ID
			}
		}
		last.read = true
	}
	if last.commit != c.ID {
		c.Parent = last.commit
		last.sequence++
		last.commit = c.ID
	}
	c.Sequence = last.sequence
	return nil
}

// forget lets go of a branch that is gone.
func (t *tails) forget(id dot.BranchID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byBranch, id)
}
