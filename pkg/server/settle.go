package server

import (
	"context"
	"errors"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// settle finishes or undoes what a crash left. Half-made commits are settled
// before anything is served, because new ones take their places behind them;
// the rest is given to the background worker.
func (p *plane) settle(ctx context.Context) error {
	if err := p.settleIntents(ctx); err != nil {
		return err
	}
	if err := p.settleSoon(ctx); err != nil {
		return err
	}
	p.work.soon(job{key: "sweep", run: p.engine.Sweep})
	return nil
}

// settleAgain is settle in a server that goes on: its registry may have been put back
// to when something was half-made that was finished since. The snapshots of such
// commits are recorded before calls are served, which could take them for abandoned.
// Intents without one stay: who began them may be at work, or come again.
func (p *plane) settleAgain(ctx context.Context, lease heldLease, breaks uint64) error {
	alone := *p // p itself writes nothing yet
	alone.lease = &leaseKeeper{held: lease, breaks: breaks}
	if _, err := alone.settleTaken(ctx); err != nil {
		return err
	}
	return p.settleSoon(ctx)
}

// settleSoon gives the background what is left to do of volumes, dots and deletions.
// Its jobs lock, or meet a conflict and decide anew, where calls are under way.
func (p *plane) settleSoon(ctx context.Context) error {
	if err := p.settleVolumes(ctx); err != nil {
		return err
	}
	if err := p.settleDots(ctx); err != nil {
		return err
	}
	commits, err := p.store.ListAllCommits(ctx)
	if err != nil {
		return err
	}
	for _, c := range commits {
		if c.Value.Deleting {
			p.work.soon(p.commitJob(c.Value.Dot, c.Value.ID))
		}
	}
	return nil
}

// settleIntents records the commits whose snapshots were taken and drops the
// others: a retry begins them anew. Dropping one raises its branch's epoch, so that
// the ones to be recorded come first.
func (p *plane) settleIntents(ctx context.Context) error {
	rest, err := p.settleTaken(ctx)
	if err != nil {
		return err
	}
	for _, i := range rest {
		if err := p.settleIntent(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// settleTaken settles the intents whose snapshots were taken, and gives the others.
// One that a call is at work on is left to that call, or to its retry.
func (p *plane) settleTaken(ctx context.Context) (rest []store.Record[store.Intent], err error) {
	intents, err := p.store.ListIntents(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range intents {
		taken, err := p.isTaken(i.Value.Commit)
		if err != nil {
			return nil, err
		}
		if !taken {
			rest = append(rest, i)
			continue
		}
		unlock, free := p.locks.TryLock(snapshotLock(i.Value.Commit.CSIName))
		if !free {
			continue
		}
		err = p.settleIntent(ctx, i)
		unlock()
		if err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// settleIntent records a commit whose snapshot was taken, and undoes any other one
// that nobody is at work on.
func (p *plane) settleIntent(ctx context.Context, i store.Record[store.Intent]) error {
	c := i.Value.Commit
	b, there, err := found(p.store.FindBranch(ctx, c.Branch))
	if err != nil || there && b.Value.Master != p.pool {
		return err
	}
	taken, err := p.isTaken(c)
	if err != nil {
		return err
	}
	if taken && there && !b.Value.Hidden && b.Value.Epoch == i.Value.Epoch {
		_, err = p.takeCommit(ctx, i)
	} else {
		err = p.undoCommit(ctx, i)
	}
	if err == nil {
		klog.FromContext(ctx).Info("settled a commit that was interrupted", "commit", c.ID, "taken", taken)
	}
	return err
}

// isTaken tells whether a commit has a snapshot.
func (p *plane) isTaken(c dot.Commit) (bool, error) {
	_, err := p.engine.FindCommit(engine.CommitRef{Branch: c.Branch, Commit: c.ID})
	if err != nil && dot.CodeOf(err) != dot.CodeNotFound {
		return false, err
	}
	return err == nil, nil
}

func (p *plane) settleVolumes(ctx context.Context) error {
	volumes, err := p.store.ListAllVolumes(ctx)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		id := v.Value.ID
		switch {
		case v.Value.State != dot.Ready:
			p.work.soon(job{key: volumeLock(id), run: func(ctx context.Context) error { return p.settleVolume(ctx, id) }})
		case v.Value.CSIName == "" && len(v.Value.Publications) == 0:
			p.work.soon(p.staticJob(id))
		}
	}
	return nil
}

// settleVolume goes on with the making or unmaking of a volume. What can only be
// refused is left to who asked for the volume: the next try is refused and undoes it.
func (p *plane) settleVolume(ctx context.Context, id dot.VolumeID) error {
	unlock, err := p.locks.lock(ctx, volumeLock(id))
	if err != nil {
		return err
	}
	defer unlock()
	rec, there, err := found(p.store.GetVolume(ctx, id))
	if err != nil || !there {
		return err
	}
	switch rec.Value.State {
	case dot.Deleting:
		fate := dropDot
		if rec.Value.CSIName == "" {
			fate = keepDot
		}
		err = p.removeClaim(ctx, rec, fate)
	case dot.Creating:
		var c claim
		if c, err = p.claimOf(ctx, rec.Value); err == nil {
			_, err = p.finishCreate(ctx, c)
		}
	}
	var other *elsewhere
	if errors.As(err, &other) {
		return nil // that server settles it
	}
	switch dot.CodeOf(err) {
	case dot.CodeNotFound, dot.CodePrecondition, dot.CodeInvalid, dot.CodeExhausted, dot.CodeExists:
		klog.FromContext(ctx).Error(err, "a volume cannot be finished; delete its PersistentVolumeClaim", "volume", id)
		return nil
	}
	return err
}

// settleDots goes on with dots and branches that dm asked for, and with
// deletions.
func (p *plane) settleDots(ctx context.Context) error {
	dots, err := p.store.ListDots(ctx)
	if err != nil {
		return err
	}
	branches, err := p.store.ListAllBranches(ctx)
	if err != nil {
		return err
	}
	byPVC := map[dot.ID]bool{}
	for _, d := range dots {
		byPVC[d.Value.ID] = d.Value.MadeByPVC && d.Value.State == dot.Creating // its volume's retry finishes it
		if d.Value.State == dot.Deleting {
			p.work.soon(p.dotJob(d.Value.ID))
		}
	}
	for _, rec := range branches {
		b := rec.Value
		switch {
		case b.Master != p.pool || b.State == dot.Ready && !b.Hidden:
		case b.Hidden:
			p.work.soon(p.dotJob(b.Dot))
		case b.State == dot.Creating && !byPVC[b.Dot]:
			p.work.soon(p.branchJob(b.Dot, b.ID))
		}
	}
	return nil
}

// registerPool tells the cluster of this server's pool, and what it promises,
// before its lease is taken. It writes nothing when nothing changed. The incarnation
// stays that of the last comparison, until noteCompared.
func registerPool(ctx context.Context, s *store.Store, now dot.Pool) error {
	return again(ctx, func() error {
		rec, there, err := found(s.GetPool(ctx, now.ID))
		if err != nil {
			return err
		}
		if there {
			now.Unknown, now.Incarnation = rec.Value.Unknown, rec.Value.Incarnation
			same := rec.Value
			same.FreeBytes = now.FreeBytes // it changes all the time
			if same == now {
				return nil
			}
		}
		return s.Txn().Unchanged(store.PoolKey(now.ID), rec.Revision).PutPool(now).Commit(ctx)
	})
}
