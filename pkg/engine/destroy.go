package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// DestroyCommit destroys a commit's snapshot; nil when it is gone. When clones
// need it the snapshot is marked as deleted, so that Inventory tells, and
// ErrInUse is in the error: the caller may forget the commit, because the
// snapshot goes with the last of its clones.
func (e *Engine) DestroyCommit(ctx context.Context, ref CommitRef) error {
	unlock, err := e.structure.lock(ctx, struct{}{})
	if err != nil {
		return err
	}
	defer unlock()
	c, err := e.index.find(ref)
	if err != nil {
		return nil
	}
	if c.deleted {
		return e.destroyUnneeded(ctx, ref, c)
	}
	return e.destroyOrMark(ctx, ref, c)
}

// destroyUnneeded tries a snapshot that was marked before.
func (e *Engine) destroyUnneeded(ctx context.Context, ref CommitRef, c indexedCommit) error {
	err := e.zfs.DestroySnapshots(ctx, c.snapshot)
	if errors.Is(err, zfs.ErrHasClones) {
		return inUse(ref, err)
	}
	return e.destroyed(ctx, err, c.snapshot)
}

func (e *Engine) destroyOrMark(ctx context.Context, ref CommitRef, c indexedCommit) error {
	err := e.zfs.DestroySnapshots(ctx, c.snapshot)
	if !errors.Is(err, zfs.ErrHasClones) {
		return e.destroyed(ctx, err, c.snapshot)
	}
	if err := e.zfs.SetProperties(ctx, c.snapshot, zfs.Props{propDeleted: on}); err != nil {
		return explain(err, "marking commit %s as deleted", ref.Commit)
	}
	c.deleted = true
	e.index.change(func(x *index) { x.commits[commitKey{ref.Branch, ref.Commit}] = c })
	return inUse(ref, err)
}

func inUse(ref CommitRef, cause error) error {
	return dot.Precondition("commit %s: %w", ref.Commit, fmt.Errorf("%w: %w", ErrInUse, cause))
}

// destroyed records the end of snapshots, which may have been gone before.
func (e *Engine) destroyed(ctx context.Context, err error, snapshots ...zfs.Snapshot) error {
	if err != nil && !errors.Is(err, zfs.ErrNotFound) {
		return explain(err, "destroying %d commits, the first %s", len(snapshots), snapshots[0])
	}
	e.index.forget(snapshots...)
	klog.FromContext(ctx).Info("destroyed snapshots", "count", len(snapshots), "first", snapshots[0].String())
	return nil
}

// DestroyBranch destroys a branch's dataset and the commits that were made on
// it, wherever they lie; nil when all is gone. Branches made from its commits
// keep what they need: the one with the newest origin is promoted first and
// takes over those snapshots, which then count as deleted like in DestroyCommit.
// While somebody mounts the dataset: CodeAborted, naming who; try later. The same
// where nothing is found while a killed command may still make it. The caller has
// made sure that nobody wants its commits.
func (e *Engine) DestroyBranch(ctx context.Context, id dot.BranchID) error {
	unlockBranch, err := e.branches.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlockBranch()
	unlock, err := e.structure.lock(ctx, struct{}{})
	if err != nil {
		return err
	}
	defer unlock()
	dataset, err := e.parent.Child(id.String())
	if err != nil {
		return dot.Invalid("branch %s: %w", id, err)
	}
	if err := e.destroyDataset(ctx, dataset); err != nil {
		return explain(err, "destroying branch %s", id)
	}
	e.index.change(func(x *index) { delete(x.branches, id) })
	e.mounted.forget(id)
	e.quotas.forget(id)
	return e.destroyElsewhere(ctx, id)
}

func (e *Engine) destroyDataset(ctx context.Context, dataset zfs.Dataset) error {
	if err := refuseMounted(dataset); err != nil {
		return err
	}
	unfinished := e.zfs.Unfinished() // before it is looked for
	if e.index.isPlain(dataset) {
		err := e.destroyHead(ctx, dataset, unfinished)
		if !errors.Is(err, zfs.ErrHasChildren) && !errors.Is(err, zfs.ErrHasClones) {
			return err
		}
	}
	items, err := e.withoutClones(ctx, dataset)
	if errors.Is(err, zfs.ErrNotFound) {
		return absent(dataset, unfinished)
	}
	if err != nil {
		return err
	}
	origin := ""
	var snapshots []zfs.Snapshot
	for _, item := range items {
		switch target := item.Target().(type) {
		case zfs.Snapshot:
			snapshots = append(snapshots, target)
		case zfs.Dataset:
			if target == dataset {
				origin = item.Values[zfs.PropOrigin].Value
			}
		}
	}
	if len(snapshots) > 0 {
		if err := e.destroySnapshots(ctx, snapshots); err != nil {
			return err
		}
	}
	if err := e.destroyHead(ctx, dataset, unfinished); err != nil {
		return err
	}
	return e.releaseOrigin(ctx, origin)
}

func (e *Engine) destroyHead(ctx context.Context, dataset zfs.Dataset, unfinished int64) error {
	err := e.zfs.Destroy(ctx, dataset)
	if errors.Is(err, zfs.ErrBusy) {
		if holder := refuseMounted(dataset); holder != nil {
			return holder
		}
	}
	if errors.Is(err, zfs.ErrNotFound) {
		return absent(dataset, unfinished)
	}
	if err == nil {
		klog.FromContext(ctx).Info("destroyed dataset", "dataset", dataset.String())
	}
	return err
}

// absent is nil if a dataset that was not found stays away: a command that was
// killed, as its caller gave up, may still be about to make it.
func absent(dataset zfs.Dataset, unfinished int64) error {
	if unfinished == 0 {
		return nil
	}
	return dot.Errorf(dot.CodeAborted, "dataset %s is not there, but a zfs command that was killed has not ended and may still make it; try again when it has", dataset)
}

// withoutClones lists a dataset with its snapshots, after promoting away the
// clones of these: each promote takes the snapshots up to the clone's origin.
func (e *Engine) withoutClones(ctx context.Context, dataset zfs.Dataset) ([]zfs.Item, error) {
	for {
		items, err := e.zfs.List(ctx, dataset, zfs.ListOptions{
			Kinds: []zfs.Kind{zfs.KindFilesystem, zfs.KindSnapshot}, Depth: 1,
			Properties: []zfs.Property{zfs.PropClones, zfs.PropOrigin},
		})
		if err != nil {
			return nil, err
		}
		newest := -1
		for i, item := range items {
			if item.Kind == zfs.KindSnapshot && len(clonesOf(item)) > 0 {
				newest = i
			}
		}
		if newest < 0 {
			return items, nil
		}
		if err := e.promote(ctx, dataset, items[newest]); err != nil {
			return nil, err
		}
	}
}

// promote makes one of a snapshot's clones own it and all that are older.
func (e *Engine) promote(ctx context.Context, dataset zfs.Dataset, origin zfs.Item) error {
	clones := clonesOf(origin)
	slices.Sort(clones)
	clone, err := zfs.ParseDataset(clones[0])
	if err != nil {
		return dot.Precondition("%s has the clone %q, which dotmesh did not make: destroy it", origin.Target(), clones[0])
	}
	if above, ok := clone.Parent(); !ok || above != e.parent {
		return dot.Precondition("%s has the clone %s, which dotmesh did not make: destroy it, or promote it with zfs promote", origin.Target(), clone)
	}
	if err := e.zfs.Promote(ctx, clone); err != nil {
		return explain(err, "promoting %s, which needs %s", clone, origin.Target())
	}
	klog.FromContext(ctx).Info("promoted clone", "clone", clone.String(), "origin", dataset.String())
	return e.index.moved(dataset, clone, origin.CreateTXG)
}

// releaseOrigin destroys the snapshot that a destroyed clone came from, if it
// was only kept for its clones and this was the last.
func (e *Engine) releaseOrigin(ctx context.Context, origin string) error {
	if origin == "" || origin == unsetInListing {
		return nil
	}
	var ref CommitRef
	var kept indexedCommit
	e.index.mu.Lock()
	for key, c := range e.index.commits {
		if c.deleted && c.snapshot.String() == origin {
			ref, kept = CommitRef{Branch: key.branch, Commit: key.commit}, c
		}
	}
	e.index.mu.Unlock()
	if kept.snapshot.IsZero() {
		return nil
	}
	err := e.destroyUnneeded(ctx, ref, kept)
	if errors.Is(err, ErrInUse) {
		return nil
	}
	return err
}

// destroyElsewhere destroys the commits of a branch that promotes have put under
// other datasets, and marks those that clones still need.
func (e *Engine) destroyElsewhere(ctx context.Context, id dot.BranchID) error {
	ofBranch := func(key commitKey, _ indexedCommit) bool { return key.branch == id }
	for dataset, refs := range e.index.where(ofBranch) {
		if err := e.destroyUnder(ctx, dataset, refs); err != nil {
			return explain(err, "destroying the commits of branch %s", id)
		}
	}
	return nil
}

// destroyUnder takes one listing and one command for all that no clone needs.
func (e *Engine) destroyUnder(ctx context.Context, dataset zfs.Dataset, refs map[string]CommitRef) error {
	items, err := e.zfs.List(ctx, dataset, zfs.ListOptions{
		Kinds: []zfs.Kind{zfs.KindSnapshot}, Depth: 1, Properties: []zfs.Property{zfs.PropClones},
	})
	if err != nil {
		return err
	}
	var unneeded []zfs.Snapshot
	for _, item := range items {
		ref, ours := refs[item.Name]
		if !ours {
			continue
		}
		c, err := e.index.find(ref)
		if err != nil {
			return err
		}
		switch needed := len(clonesOf(item)) > 0; {
		case !needed:
			unneeded = append(unneeded, c.snapshot)
		case !c.deleted:
			if err := e.destroyOrMark(ctx, ref, c); err != nil && !errors.Is(err, ErrInUse) {
				return err
			}
		}
	}
	if len(unneeded) == 0 {
		return nil
	}
	return e.destroySnapshots(ctx, unneeded)
}

// clonesOf reads the full names of a snapshot's clones.
func clonesOf(item zfs.Item) []string {
	value := item.Values[zfs.PropClones].Value
	if value == "" || value == unsetInListing {
		return nil
	}
	return strings.Split(value, ",")
}

// destroySnapshots destroys in steps, because a command line holds only some
// thousands of names.
func (e *Engine) destroySnapshots(ctx context.Context, snapshots []zfs.Snapshot) error {
	const step = 500
	for part := range slices.Chunk(snapshots, step) {
		if err := e.destroyed(ctx, e.zfs.DestroySnapshots(ctx, part...), part...); err != nil {
			return err
		}
	}
	return nil
}

// Sweep destroys the snapshots that were left because of clones and that no
// clone needs any more: a crash can part the two. For after a restart. It starts
// no process where nothing was left.
func (e *Engine) Sweep(ctx context.Context) error {
	unlock, err := e.structure.lock(ctx, struct{}{})
	if err != nil {
		return err
	}
	defer unlock()
	isLeft := func(_ commitKey, c indexedCommit) bool { return c.deleted }
	for dataset, refs := range e.index.where(isLeft) {
		if err := e.destroyUnder(ctx, dataset, refs); err != nil {
			return explain(err, "destroying what was left below %s", dataset)
		}
	}
	return nil
}
