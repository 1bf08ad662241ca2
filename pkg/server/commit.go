package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// dmIntent begins the name of an intent of dm's; CSI names hold no control
// characters.
const dmIntent = "\x00dm\x00"

// order is a commit that is asked for.
type order struct {
	// name is what a retry comes with again: the CSI name or one that begins
	// with dmIntent.
	name   string
	commit dot.Commit // without place and GUID; an id is chosen if it has none
	branch dot.Branch
	// volumeAt is the revision of the commit's volume if it was not read just now,
	// nor was the branch: errOutdated when either has changed.
	volumeAt int64
}

func isCSI(intent string) bool { return !strings.HasPrefix(intent, dmIntent) }

// errDone tells that the commit of a CSI name exists.
var errDone = errors.New("the commit was made before")

// errOutdated tells that an order was made of what is not so any more.
var errOutdated = errors.New("the volume or its branch has changed since it was read")

// makeCommit writes an intent, takes the snapshot and writes the commit. A retry
// finds the intent and goes on with it.
func (p *plane) makeCommit(ctx context.Context, o order) (dot.Commit, error) {
	if err := engine.CheckCommit(o.commit); err != nil {
		return dot.Commit{}, err
	}
	intent, err := p.begin(ctx, o)
	if err != nil {
		return dot.Commit{}, err
	}
	return p.takeCommit(ctx, intent)
}

// begin is beginCommit, decided anew when what it was decided on changed. The
// commits of dm in one dot begin one after another, because each writes the dot.
func (p *plane) begin(ctx context.Context, o order) (intent store.Record[store.Intent], err error) {
	if !isCSI(o.name) {
		unlock, err := p.locks.lock(ctx, "begin of a commit in "+o.commit.Dot.String())
		if err != nil {
			return intent, err
		}
		defer unlock()
	}
	err = again(ctx, func() error {
		intent, err = p.beginCommit(ctx, o)
		return err
	})
	return intent, err
}

// beginCommit writes the intent, or takes up the one that is there.
func (p *plane) beginCommit(ctx context.Context, o order) (store.Record[store.Intent], error) {
	none := store.Record[store.Intent]{}
	i := store.Intent{Epoch: o.branch.Epoch, Commit: o.commit}
	i.Commit.CSIName = o.name
	if i.Commit.ID.IsZero() {
		i.Commit.ID = dot.NewCommitID()
	} else if err := p.dropUndone(ctx, o); err != nil {
		return none, err
	}
	keeps, err := p.keepsDot(ctx, o)
	if err != nil {
		return none, err
	}
	if err := p.tails.next(ctx, &i.Commit); err != nil {
		return none, err
	}
	at, err := p.applyAt(ctx, func(t *store.Txn) {
		t.Absent(store.IntentKey(o.name)).Absent(store.SnapshotKey(o.name)).Epoch(o.branch.ID, o.branch.Epoch)
		switch volume := store.VolumeKey(o.commit.Volume); {
		case o.volumeAt != 0:
			t.Unchanged(volume, o.volumeAt)
		case !o.commit.Volume.IsZero():
			t.Present(volume)
		}
		keeps(t)
		t.PutIntent(i)
	})
	var conflict *store.Conflict
	switch {
	case err == nil:
		return store.Record[store.Intent]{Value: i, Revision: at}, nil
	case !errors.As(err, &conflict):
		return none, err
	case conflict.On(store.SnapshotKey(o.name)):
		return none, errDone
	case o.volumeAt != 0 && (conflict.On(store.VolumeKey(o.commit.Volume)) || conflict.On(store.EpochKey(o.branch.ID))):
		return none, errOutdated
	case conflict.On(store.VolumeKey(o.commit.Volume)):
		return none, dot.NotFound("volume %s was deleted meanwhile", o.commit.Volume)
	case conflict.On(store.EpochKey(o.branch.ID)):
		return none, dot.Errorf(dot.CodeAborted, "the branch was changed meanwhile; try again")
	case !conflict.On(store.IntentKey(o.name)):
		return none, err // the dot was written meanwhile
	}
	return p.takeUp(ctx, o)
}

// dropUndone destroys the snapshot that an undone commit of the same id left, before
// there is an intent that would take it for its own: a crash can part the two. One
// whose intent is there is left to who takes that up.
func (p *plane) dropUndone(ctx context.Context, o order) error {
	taken, err := p.isTaken(o.commit)
	if err != nil || !taken {
		return err
	}
	_, begun, err := found(p.store.GetIntent(ctx, o.name))
	if err != nil || begun {
		return err
	}
	// Read after its intent: a commit without one is recorded by now, or never.
	_, recorded, err := found(p.store.GetCommit(ctx, o.commit.Dot, o.commit.ID))
	if err != nil {
		return err
	}
	if recorded {
		return dot.Errorf(dot.CodeAborted, "commit %s was recorded meanwhile; try again", o.commit.ID)
	}
	err = p.engine.DestroyCommit(ctx, engine.CommitRef{Branch: o.commit.Branch, Commit: o.commit.ID})
	if errors.Is(err, engine.ErrInUse) {
		return dot.Precondition("commit %s was made with this idempotency key and deleted, and what was made from it still needs it: use another key", o.commit.ID)
	}
	return err
}

// keepsDot gives what a commit of dm's does to its dot: the dot is kept for it, so
// that it is written, and a call that takes the dot away conflicts. A commit of a
// volume's needs the volume, which keeps the dot.
func (p *plane) keepsDot(ctx context.Context, o order) (func(*store.Txn), error) {
	if isCSI(o.name) {
		return func(*store.Txn) {}, nil
	}
	d, err := p.store.GetDot(ctx, o.commit.Dot)
	if err != nil {
		return nil, err
	}
	if err := p.writable(ctx, d.Value, o.branch); err != nil {
		return nil, err
	}
	return func(t *store.Txn) { t.Unchanged(store.DotKey(d.Value.ID), d.Revision).PutDot(d.Value) }, nil
}

// takeUp goes on with an intent that an earlier try left: one of this epoch keeps
// its commit's id, an older one is replaced. One of another branch is undone, and
// ErrConflict tells to start again: the volume was reset since.
func (p *plane) takeUp(ctx context.Context, o order) (store.Record[store.Intent], error) {
	rec, err := p.store.GetIntent(ctx, o.name)
	if err != nil {
		return rec, errors.Join(err, goneMeanwhile(err))
	}
	i := &rec.Value
	if i.Commit.Volume != o.commit.Volume {
		return rec, dot.Errorf(dot.CodeExists, "a snapshot of the name %q was begun of another volume", o.name)
	}
	if i.Commit.Branch != o.branch.ID {
		if err := p.undoCommit(ctx, rec); err != nil {
			return rec, err
		}
		return rec, dot.Errorf(dot.CodeAborted, "what an earlier try began on the branch's old head was undone; try again: %w", store.ErrConflict)
	}
	old := engine.CommitRef{Branch: i.Commit.Branch, Commit: i.Commit.ID}
	taken, err := p.isTaken(i.Commit)
	if err != nil || taken && i.Epoch == o.branch.Epoch {
		return rec, err
	}
	// No snapshot was taken that counts: it will hold what is there now, so its
	// place is now.
	if i.Epoch != o.branch.Epoch {
		i.Epoch, i.Commit.ID = o.branch.Epoch, dot.NewCommitID()
	}
	i.Commit.Time = o.commit.Time
	if err := p.tails.next(ctx, &i.Commit); err != nil {
		return rec, err
	}
	rec.Revision, err = p.applyAt(ctx, func(t *store.Txn) {
		t.Unchanged(store.IntentKey(o.name), rec.Revision).Epoch(o.branch.ID, o.branch.Epoch).PutIntent(*i)
	})
	if err == nil && taken {
		err = p.dropSnapshot(ctx, old)
	}
	return rec, err
}

// goneMeanwhile makes a conflict of an intent that was finished between two
// reads, so that the flow decides anew.
func goneMeanwhile(err error) error {
	if dot.CodeOf(err) == dot.CodeNotFound {
		return store.ErrConflict
	}
	return nil
}

// takeCommit takes the snapshot of an intent and writes the commit, comparing the
// epoch. It is what settling after a crash calls too.
func (p *plane) takeCommit(ctx context.Context, intent store.Record[store.Intent]) (dot.Commit, error) {
	name := intent.Value.Commit.CSIName
	c := intent.Value.Commit
	c.Epoch = intent.Value.Epoch
	if !isCSI(name) {
		c.CSIName = ""
	}
	stored, err := p.engine.Commit(ctx, c)
	if err != nil {
		return c, err
	}
	c.GUID = stored.GUID
	err = p.apply(ctx, func(t *store.Txn) {
		t.Unchanged(store.IntentKey(name), intent.Revision).Epoch(c.Branch, intent.Value.Epoch)
		t.PutCommit(c).DeleteIntent(name)
		if isCSI(name) {
			t.PutSnapshot(store.Snapshot{CSIName: name, Dot: c.Dot, Commit: c.ID, Volume: c.Volume})
		}
	})
	if errors.Is(err, store.ErrConflict) {
		return c, p.refuseCommit(ctx, intent, err)
	}
	if err == nil {
		klog.FromContext(ctx).Info("committed", "dot", c.Dot, "branch", c.Branch, "commit", c.ID, "sequence", c.Sequence)
	}
	return c, err
}

// refuseCommit explains why a commit could not be recorded. One of an older epoch
// never enters the branch's history, so that its snapshot goes at once.
func (p *plane) refuseCommit(ctx context.Context, intent store.Record[store.Intent], cause error) error {
	c := intent.Value.Commit
	var conflict *store.Conflict
	if !errors.As(cause, &conflict) || !conflict.On(store.EpochKey(c.Branch)) {
		return dot.Errorf(dot.CodeAborted, "another server or call finished this commit meanwhile; try again")
	}
	if !conflict.On(store.IntentKey(c.CSIName)) {
		if err := p.undoCommit(ctx, intent); err != nil {
			// The intent is left, or a snapshot that goes with its branch.
			klog.FromContext(ctx).Error(err, "cannot undo a commit that came too late", "branch", c.Branch, "commit", c.ID)
		}
	}
	return dot.Errorf(dot.CodeAborted, "the branch changed hands, was reset or deleted, or another of its commits was undone, before commit %s was recorded; try again", c.ID)
}

// endCommit lets no commit that failed stay half-made when nobody may come for it
// again: in the background it is undone if its caller was told that it failed for
// good, or else recorded if its snapshot was taken. It gives what to answer. The
// caller holds the intent's lock.
func (p *plane) endCommit(ctx context.Context, name string, volume dot.VolumeID, cause error) error {
	gone := final(cause)
	if isCSI(name) && !gone {
		return cause // the snapshotter comes again
	}
	i, there, err := found(p.store.GetIntent(ctx, name))
	if err == nil && (!there || i.Value.Commit.Volume != volume) {
		return cause
	}
	var other *elsewhere
	if there && errors.As(p.branchHere(ctx, i.Value.Commit.Branch), &other) {
		return other
	}
	p.work.soon(p.intentJob(name, i.Value.Commit, gone))
	if gone {
		return cause
	}
	return fmt.Errorf("%w; the commit may have been made: look at the log before trying again", cause)
}

// branchHere gives elsewhere for a branch of another pool.
func (p *plane) branchHere(ctx context.Context, id dot.BranchID) error {
	b, there, err := found(p.store.FindBranch(ctx, id))
	if err != nil || !there || b.Value.Master == p.pool {
		return err
	}
	return p.elsewhere(ctx, "the branch of the commit", b.Value.Master)
}

// intentJob ends a commit that nobody is at work on. begun is what its intent says,
// as far as that was read: an undoing whose answer was lost leaves its snapshot.
func (p *plane) intentJob(name string, begun dot.Commit, undo bool) job {
	return job{key: snapshotLock(name), run: func(ctx context.Context) error {
		unlock, err := p.locks.lock(ctx, snapshotLock(name))
		if err != nil {
			return err
		}
		defer unlock()
		if err := p.engine.AwaitCommits(ctx); err != nil {
			return err
		}
		i, there, err := found(p.store.GetIntent(ctx, name))
		switch {
		case err != nil:
			return err
		case !there:
			return p.dropUnrecorded(ctx, begun)
		}
		begun = i.Value.Commit // for the next try
		if !undo {
			return p.settleIntent(ctx, i)
		}
		return p.undoCommit(ctx, i)
	}}
}

// dropUnrecorded destroys the snapshot of a commit that is not recorded, and has no
// intent any more by which it could be.
func (p *plane) dropUnrecorded(ctx context.Context, c dot.Commit) error {
	taken, err := p.isTaken(c)
	if err != nil || !taken {
		return err
	}
	_, recorded, err := found(p.store.GetCommit(ctx, c.Dot, c.ID))
	if err != nil || recorded {
		return err
	}
	return p.dropSnapshot(ctx, engine.CommitRef{Branch: c.Branch, Commit: c.ID})
}
