package server

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// source is what a new volume begins with; the zero value is nothing.
type source struct {
	commit *dot.Origin
	of     dot.FullName // the dot that has it
	subdot dot.Subdot
	size   int64
	// holds tells how many bytes there are in the whole of it.
	holds func(context.Context) (int64, error)
	// subdots are those of the dot that it comes from: the directories in the
	// copy have their project ids.
	subdots map[dot.Subdot]dot.SubdotRecord
	// require makes a transaction fail when the source went away meanwhile.
	require func(*store.Txn)
}

// resolveSource finds the commit that a restore or clone begins at, and refuses
// one that the PVC's namespace may not use.
func (p *plane) resolveSource(ctx context.Context, w wish) (source, error) {
	switch {
	case w.snapshot != nil:
		return p.snapshotSource(ctx, w)
	case !w.sourceVolume.IsZero():
		return p.volumeSource(ctx, w)
	}
	return source{require: func(*store.Txn) {}}, nil
}

// least is the smallest size of a volume that shows a subdot of the source. The
// whole of a dot can hold more than the volume that a commit was made of.
func (s source) least(ctx context.Context, subdot dot.Subdot) (int64, error) {
	if s.holds == nil || !subdot.IsRoot() {
		return s.size, nil
	}
	held, err := s.holds(ctx)
	return max(s.size, held), err
}

func (p *plane) snapshotSource(ctx context.Context, w wish) (source, error) {
	c, err := p.findCommit(ctx, *w.snapshot)
	if err != nil {
		return source{}, err
	}
	d, err := p.store.GetDot(ctx, c.Value.Dot)
	if err != nil {
		return source{}, err
	}
	if err := d.Value.MayUse(w.requester()); err != nil {
		return source{}, err
	}
	b, err := p.store.FindBranch(ctx, c.Value.Branch)
	if err != nil {
		return source{}, err
	}
	if err := p.here(ctx, d.Value, b.Value); err != nil {
		return source{}, err
	}
	subdot := c.Value.Subdot
	if subdot.IsZero() && w.subdot.IsZero() {
		if subdot, err = onlySubdot(d.Value); err != nil {
			return source{}, err
		}
	}
	return source{
		commit: &dot.Origin{Branch: c.Value.Branch, Commit: c.Value.ID, Sequence: c.Value.Sequence}, of: d.Value.FullName,
		subdot: subdot, size: c.Value.SizeBytes, subdots: inherited(d.Value),
		holds: func(ctx context.Context) (int64, error) {
			return p.engine.CommitBytes(ctx, engine.CommitRef{Branch: c.Value.Branch, Commit: c.Value.ID, GUID: c.Value.GUID})
		},
		require: func(t *store.Txn) { t.Unchanged(store.CommitKey(c.Value.Dot, c.Value.ID), c.Revision) },
	}, nil
}

// onlySubdot is what a restore shows when neither the claim nor the commit names a
// subdot, as none made by dm does: the default one, or the only one that there is.
// Where that leaves a choice it is the user's: an empty directory would surprise
// who came for the content.
func onlySubdot(d dot.Dot) (dot.Subdot, error) {
	names := make([]string, 0, len(d.Subdots))
	var last dot.Subdot
	for s := range d.Subdots {
		if s == dot.DefaultSubdot {
			return s, nil
		}
		if !s.IsRoot() {
			last, names = s, append(names, s.String())
		}
	}
	switch len(names) {
	case 0:
		return dot.DefaultSubdot, nil
	case 1:
		return last, nil
	}
	slices.Sort(names)
	return dot.Subdot{}, dot.Invalid("the commit is of the whole dot %s, which has the subdots %s: name one (or %s, for all) in the annotation dotmeshSubdot of the claim",
		d.FullName, strings.Join(names, ", "), dot.RootSubdot)
}

// volumeSource names the commit that finishCreate will make of the source.
func (p *plane) volumeSource(ctx context.Context, w wish) (source, error) {
	v, err := p.store.GetVolume(ctx, w.sourceVolume)
	if err != nil {
		return source{}, err
	}
	c, err := p.claimOf(ctx, v.Value)
	if err != nil {
		return source{}, err
	}
	if v.Value.State != dot.Ready {
		return source{}, dot.Errorf(dot.CodeAborted, "the volume to clone is not ready (%s); try again", v.Value.State)
	}
	if err := c.dot.MayUse(w.requester()); err != nil {
		return source{}, err
	}
	if err := p.here(ctx, c.dot, c.branch); err != nil {
		return source{}, err
	}
	base, err := newCloneBase()
	if err != nil {
		return source{}, err
	}
	return source{
		commit: &dot.Origin{Branch: c.branch.ID, Commit: base}, of: c.dot.FullName,
		subdot: v.Value.Subdot, size: v.Value.SizeBytes, subdots: inherited(c.dot),
		holds:   func(ctx context.Context) (int64, error) { return p.engine.HeadBytes(ctx, c.branch.ID) },
		require: func(t *store.Txn) { t.Present(store.VolumeKey(v.Value.ID)) },
	}, nil
}

// inherited gives the subdots of a dot as a copy has them: no claim on the copy
// made them, and none has claimed the whole of it.
func inherited(d dot.Dot) map[dot.Subdot]dot.SubdotRecord {
	subdots := map[dot.Subdot]dot.SubdotRecord{}
	for s, rec := range d.Subdots {
		rec.MadeByClaim = false
		subdots[s] = rec
	}
	delete(subdots, dot.RootSubdot)
	return subdots
}

// newCloneBase chooses the id of the commit at which a clone of a volume begins.
// It is written with the clone, so that a retry meets the commit, which itself is
// never in the registry.
func newCloneBase() (dot.CommitID, error) { return dot.ParseCommitID("clone-" + uuid.NewString()) }

func (p *plane) takeCloneBase(ctx context.Context, c claim, base engine.CommitRef) error {
	of, err := p.store.FindBranch(ctx, base.Branch)
	if err != nil {
		return err
	}
	if of.Value.Hidden {
		return dot.NotFound("the volume to clone was deleted meanwhile")
	}
	_, err = p.engine.Commit(ctx, dot.Commit{
		ID: base.Commit, Dot: of.Value.Dot, Branch: of.Value.ID, Time: p.now(),
		Author: "kubernetes", Message: "begin of the clone " + c.dot.FullName.String(),
	})
	return err
}

// findCommit finds a commit by its handle; CodeNotFound when there is none, or
// it is on its way out.
func (p *plane) findCommit(ctx context.Context, h dot.SnapshotHandle) (store.Record[dot.Commit], error) {
	id := h.Dot
	if id.IsZero() {
		rec, err := p.store.LookupName(ctx, h.FullName)
		if err != nil {
			return store.Record[dot.Commit]{}, err
		}
		id = rec.Value
	}
	c, err := p.store.GetCommit(ctx, id, h.Commit)
	if err == nil && c.Value.Deleting {
		return c, dot.NotFound("snapshot %s was deleted", h)
	}
	return c, err
}
