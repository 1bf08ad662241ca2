package server

import (
	"context"
	"errors"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// dotJob does what is left to do of deletions in a dot: branches of a dot that
// goes get their tombstones; branches out of sight are destroyed as soon as
// nothing needs their commits; and with the last of them the dot's record goes.
func (p *plane) dotJob(id dot.ID) job {
	return job{key: dotLock(id), run: func(ctx context.Context) error { return p.clearDot(ctx, id) }}
}

func (p *plane) clearDot(ctx context.Context, id dot.ID) error {
	unlock, err := p.locks.lock(ctx, dotLock(id))
	if err != nil {
		return err
	}
	defer unlock()
	d, there, err := found(p.store.GetDot(ctx, id))
	if err != nil || !there {
		return err
	}
	branches, err := p.store.ListBranches(ctx, id)
	if err != nil {
		return err
	}
	left := 0
	for _, b := range branches {
		// A hidden branch that is being made is the new head of a reset that was
		// never finished: the old head is still in place.
		unfinished := b.Value.Hidden && b.Value.State == dot.Creating && b.Value.Master == p.pool
		if d.Value.State == dot.Deleting && !b.Value.Hidden || unfinished {
			if b, err = p.hide(ctx, b); err != nil {
				return err
			}
		}
		if !b.Value.Hidden {
			left++
			continue
		}
		gone, err := p.clearBranch(ctx, d.Value, b, branches)
		if err != nil {
			return err
		}
		if !gone {
			left++
		}
	}
	if d.Value.State != dot.Deleting || left > 0 {
		return nil
	}
	klog.FromContext(ctx).Info("dot is gone", "dot", d.Value.FullName, "id", id)
	return p.apply(ctx, func(t *store.Txn) { t.Unchanged(store.DotKey(id), d.Revision).DeleteDot(id) })
}

// hide takes a branch out of sight and writes its tombstone. The epoch that it
// raises refuses what others decided on the branch as it was.
func (p *plane) hide(ctx context.Context, b store.Record[dot.Branch]) (store.Record[dot.Branch], error) {
	was := b.Value.Epoch
	b.Value.Hidden, b.Value.State, b.Value.Epoch = true, dot.Deleting, was.Next()
	at, err := p.applyAt(ctx, func(t *store.Txn) {
		t.Unchanged(store.BranchKey(b.Value.Dot, b.Value.Name), b.Revision).Epoch(b.Value.ID, was)
		t.PutBranch(b.Value).PutTombstone(p.tombstone(b.Value))
	})
	b.Revision = at
	return b, err
}

func (p *plane) tombstone(b dot.Branch) store.Tombstone {
	return store.Tombstone{Branch: b.ID, Dot: b.Dot, Epoch: b.Epoch, Pools: []dot.PoolID{b.Master}, Deleted: p.now()}
}

// clearBranch destroys a hidden branch if nothing needs it. all are the branches
// of its dot.
func (p *plane) clearBranch(ctx context.Context, d dot.Dot, b store.Record[dot.Branch], all []store.Record[dot.Branch]) (gone bool, err error) {
	if b.Value.Master != p.pool {
		return false, nil
	}
	commits, needed, err := p.needs(ctx, d, b.Value, all)
	if err != nil {
		return false, err
	}
	if needed {
		return false, p.retire(ctx, b)
	}
	if err := p.engine.DestroyBranch(ctx, b.Value.ID); err != nil {
		return false, err
	}
	for _, c := range commits {
		// A promote may have moved it to a clone's dataset.
		if err := p.dropSnapshot(ctx, engine.CommitRef{Branch: c.Branch, Commit: c.ID, GUID: c.GUID}); err != nil {
			return false, err
		}
	}
	const chunk = 100 // of the 128 changes that a transaction takes
	for ; len(commits) > chunk; commits = commits[chunk:] {
		if err := p.forgetCommits(ctx, commits[:chunk]); err != nil {
			return false, err
		}
	}
	p.tails.forget(b.Value.ID)
	return true, p.apply(ctx, func(t *store.Txn) {
		t.Unchanged(store.BranchKey(b.Value.Dot, b.Value.Name), b.Revision)
		for _, c := range commits {
			t.DeleteCommit(c.Dot, c.ID)
		}
		t.DeleteBranch(b.Value).DeleteTombstone(b.Value.ID).DeleteAssignment(p.pool, b.Value.ID)
	})
}

func (p *plane) forgetCommits(ctx context.Context, commits []dot.Commit) error {
	return p.apply(ctx, func(t *store.Txn) {
		for _, c := range commits {
			t.DeleteCommit(c.Dot, c.ID)
		}
	})
}

// needs tells whether something still needs a hidden branch's commits, and which
// commits it has: those of VolumeSnapshots do; in a dot that stays, every commit
// does that is not on its way out, and so do branches that begin at one.
func (p *plane) needs(ctx context.Context, d dot.Dot, b dot.Branch, all []store.Record[dot.Branch]) (commits []dot.Commit, needed bool, err error) {
	// The epoch was raised when the branch was hidden, so that no commit can be
	// finished any more; what was begun must not outlive the branch.
	if err := p.dropIntents(ctx, b); err != nil {
		return nil, false, err
	}
	list, err := p.store.ListCommits(ctx, d.ID)
	if err != nil {
		return nil, false, err
	}
	for _, c := range list {
		if c.Value.Branch != b.ID {
			continue
		}
		commits = append(commits, c.Value)
		if !c.Value.Deleting && (c.Value.CSIName != "" || d.State != dot.Deleting) {
			needed = true
		}
	}
	for _, other := range all {
		if d.State != dot.Deleting && other.Value.Origin != nil && other.Value.Origin.Branch == b.ID {
			needed = true
		}
	}
	return commits, needed, nil
}

// dropIntents makes sure that no commit of a branch is half-made: one that a call
// is at work on has to be waited for, an abandoned one is undone.
func (p *plane) dropIntents(ctx context.Context, b dot.Branch) error {
	intents, err := p.store.ListIntents(ctx)
	if err != nil {
		return err
	}
	for _, i := range intents {
		c := i.Value.Commit
		if c.Branch != b.ID {
			continue
		}
		unlock, ok := p.locks.TryLock(snapshotLock(c.CSIName))
		if !ok {
			return dot.Errorf(dot.CodeAborted, "a commit of the branch is under way")
		}
		err := p.undoCommit(ctx, i)
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// undoCommit destroys what a commit that was begun and never finished left. The
// intent goes first, and only as it was read: a commit that was finished meanwhile
// must not lose its snapshot. With it the branch's epoch passes, if it is still that
// of the intent: a snapshot that a crash leaves now, or that is taken after all, is
// told by its epoch from what a registry has forgotten (vet). It goes with its branch.
func (p *plane) undoCommit(ctx context.Context, i store.Record[store.Intent]) error {
	c := i.Value.Commit
	err := again(ctx, func() error {
		b, there, err := found(p.store.FindBranch(ctx, c.Branch))
		if err != nil {
			return err
		}
		return p.apply(ctx, func(t *store.Txn) {
			t.Unchanged(store.IntentKey(c.CSIName), i.Revision).DeleteIntent(c.CSIName)
			if there && b.Value.Epoch == i.Value.Epoch {
				next := b.Value
				next.Epoch = next.Epoch.Next()
				t.Unchanged(store.BranchKey(next.Dot, next.Name), b.Revision).Epoch(next.ID, b.Value.Epoch).PutBranch(next)
			}
		})
	})
	if err != nil {
		return err
	}
	return p.dropSnapshot(ctx, engine.CommitRef{Branch: c.Branch, Commit: c.ID})
}

// dropSnapshot destroys a snapshot that no commit is, now or with the last of its
// clones.
func (p *plane) dropSnapshot(ctx context.Context, ref engine.CommitRef) error {
	err := p.engine.DestroyCommit(ctx, ref)
	if errors.Is(err, engine.ErrInUse) {
		return nil
	}
	return err
}

// retire makes the head of a hidden branch read-only and lets its dataset say
// that it is hidden, once: the branch is ready, and hidden, from then on.
func (p *plane) retire(ctx context.Context, b store.Record[dot.Branch]) error {
	if b.Value.State == dot.Ready || !p.engine.HasBranch(b.Value.ID) {
		return nil
	}
	if err := p.engine.Retire(ctx, b.Value); err != nil {
		return err
	}
	b.Value.State = dot.Ready
	return p.apply(ctx, func(t *store.Txn) {
		t.Unchanged(store.BranchKey(b.Value.Dot, b.Value.Name), b.Revision).PutBranch(b.Value)
	})
}
