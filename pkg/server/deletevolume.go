package server

import (
	"context"
	"slices"

	"k8s.io/klog/v2"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// deleteVolume removes a volume's claim. The dot goes with its last volume if
// volumes are all that it was for; its datasets are destroyed in the background.
func (p *plane) deleteVolume(ctx context.Context, req *dotmeshv1.DeleteVolumeRequest) (*dotmeshv1.DeleteVolumeResponse, error) {
	done := &dotmeshv1.DeleteVolumeResponse{}
	id, _, err := parseVolume(req.Volume)
	if err != nil && dot.CodeOf(err) == dot.CodeNotFound {
		return done, nil
	}
	if err != nil {
		return nil, err
	}
	unlock, err := p.locks.lock(ctx, volumeLock(id))
	if err != nil {
		return nil, err
	}
	defer unlock()
	rec, there, err := found(p.store.GetVolume(ctx, id))
	if err != nil {
		return nil, err
	}
	if !there {
		return done, p.notWhileRebuilding("volume " + id.String() + " is not known, and may be there")
	}
	if len(rec.Value.Publications) > 0 {
		return nil, dot.Precondition("volume %s is in use on node %s: delete the pods that use it first", id, publishedTo(rec.Value))
	}
	if rec.Value.CSIName == "" { // written by hand: it owns nothing
		return done, p.removeClaim(ctx, rec, keepDot)
	}
	return done, p.removeClaim(ctx, rec, dropDot)
}

// fate says what becomes of a dot that has lost its last volume.
type fate int

const (
	dropDot fate = iota // it goes, if volumes are all that it was for
	keepDot
)

// removeClaim removes a volume from dot and registry.
func (p *plane) removeClaim(ctx context.Context, rec store.Record[dot.Volume], fate fate) error {
	c, err := p.claimOf(ctx, rec.Value)
	if err != nil && dot.CodeOf(err) == dot.CodeNotFound {
		return p.apply(ctx, func(t *store.Txn) {
			t.Unchanged(store.VolumeKey(rec.Value.ID), rec.Revision).DeleteVolume(rec.Value.ID)
		})
	}
	if err != nil {
		return err
	}
	if err := p.here(ctx, c.dot, c.branch); err != nil {
		return err
	}
	unlock, err := p.locks.lock(ctx, dotLock(c.dot.ID))
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.dropCloneBase(ctx, c); err != nil {
		return err
	}
	buried := false
	err = again(ctx, func() (err error) {
		buried, err = p.removeClaimOnce(ctx, rec.Value.ID, c, fate)
		return err
	})
	if buried {
		// Also when the answer was lost: the retry finds no volume, and nobody else
		// would ask.
		p.work.soon(p.dotJob(c.dot.ID))
	}
	if err != nil {
		return err
	}
	klog.FromContext(ctx).Info("deleted volume", "volume", rec.Value.ID, "dot", c.dot.FullName, "withDot", buried)
	return nil
}

// removeClaimOnce reads everything again, because markCreated, publish and
// expand write it too, and removes the claim if nothing changed meanwhile. buried
// with an error: the dot may be on its way out.
func (p *plane) removeClaimOnce(ctx context.Context, id dot.VolumeID, c claim, fate fate) (buried bool, err error) {
	v, there, err := found(p.store.GetVolume(ctx, id))
	if err != nil || !there {
		return false, err
	}
	if len(v.Value.Publications) > 0 {
		return false, dot.Precondition("volume %s was published meanwhile to node %s", id, publishedTo(v.Value))
	}
	d, err := p.store.GetDot(ctx, c.dot.ID)
	if err != nil {
		return false, err
	}
	others, goes, err := p.dotGoes(ctx, d.Value, id)
	if err != nil {
		return false, err
	}
	if goes && fate == dropDot {
		return true, p.bury(ctx, v, d)
	}
	if v.Value.State == dot.Ready {
		v.Value.State = dot.Deleting
		// The dot is written too, so that whoever joins it meanwhile must look
		// again and meet the claim that goes.
		at, err := p.applyAt(ctx, func(t *store.Txn) {
			t.Unchanged(store.VolumeKey(id), v.Revision).Unchanged(store.DotKey(c.dot.ID), d.Revision).PutVolume(v.Value).PutDot(d.Value)
		})
		if err != nil {
			return false, err
		}
		v.Revision, d.Revision = at, at
	}
	// A reset may have given the volume another branch since c was read.
	b, err := p.store.FindBranch(ctx, v.Value.Branch)
	if err != nil {
		return false, err
	}
	return false, p.leaveDot(ctx, v, d, b.Value, others)
}

// dropCloneBase destroys the commit that a clone which was never finished would
// have begun at.
func (p *plane) dropCloneBase(ctx context.Context, c claim) error {
	if c.volume.State == dot.Ready || c.volume.SourceVolume.IsZero() || c.branch.Origin == nil {
		return nil
	}
	return p.dropSnapshot(ctx, engine.CommitRef{Branch: c.branch.Origin.Branch, Commit: c.branch.Origin.Commit})
}

// dotGoes tells whether a dot that loses a volume holds nothing but what volumes
// put there, and which other claims there are. Who acts on it compares the dot's
// revision: joining the dot, and branches and commits of dm's, write the dot.
func (p *plane) dotGoes(ctx context.Context, d dot.Dot, losing dot.VolumeID) (others []dot.Volume, goes bool, err error) {
	all, err := p.volumesOf(ctx, d.ID)
	if err != nil {
		return nil, false, err
	}
	for _, v := range all {
		if v.ID != losing {
			others = append(others, v)
		}
	}
	if len(others) > 0 || !d.MadeByPVC {
		return others, false, nil
	}
	branches, err := p.store.ListBranches(ctx, d.ID)
	if err != nil {
		return nil, false, err
	}
	for _, b := range branches {
		if !b.Value.Hidden && b.Value.Name != dot.MasterBranch {
			return others, false, nil // dm made it, or a divergence
		}
	}
	// Before the commits: what is begun now is a commit by then, or an intent still.
	intents, err := p.store.ListIntents(ctx)
	if err != nil {
		return nil, false, err
	}
	for _, i := range intents {
		if i.Value.Commit.Dot == d.ID && !isCSI(i.Value.Commit.CSIName) {
			return others, false, nil // dm is committing
		}
	}
	commits, err := p.store.ListCommits(ctx, d.ID)
	if err != nil {
		return nil, false, err
	}
	for _, c := range commits {
		if !c.Value.Deleting && (c.Value.CSIName == "" || len(c.Value.Tags) > 0) {
			return others, false, nil
		}
	}
	return others, true, nil
}

// bury takes a dot out of sight with its last volume: its name is free from then
// on, and its branches get their tombstones in the background.
func (p *plane) bury(ctx context.Context, v store.Record[dot.Volume], d store.Record[dot.Dot]) error {
	gone := d.Value
	gone.State = dot.Deleting
	name, err := p.ownsName(ctx, gone)
	if err != nil {
		return err
	}
	return p.apply(ctx, func(t *store.Txn) {
		t.Unchanged(store.VolumeKey(v.Value.ID), v.Revision).Unchanged(store.DotKey(gone.ID), d.Revision)
		t.DeleteVolume(v.Value.ID).PutDot(gone)
		if name != 0 {
			t.Unchanged(store.NameKey(gone.FullName), name).DeleteName(gone.FullName)
		}
	})
}

// ownsName gives the revision of the dot's name, 0 when the name is not the
// dot's (any more).
func (p *plane) ownsName(ctx context.Context, d dot.Dot) (int64, error) {
	name, there, err := found(p.store.LookupName(ctx, d.FullName))
	if err != nil || !there || name.Value != d.ID {
		return 0, err
	}
	return name.Revision, nil
}

// leaveDot takes a claim off a dot that stays. d is of the revision at which
// others were listed.
func (p *plane) leaveDot(ctx context.Context, v store.Record[dot.Volume], d store.Record[dot.Dot], b dot.Branch, others []dot.Volume) error {
	stays := d.Value
	rec := stays.Subdots[v.Value.Subdot]
	last, largest := true, int64(0)
	for _, o := range onBranch(others, b.ID) {
		if o.Subdot == v.Value.Subdot {
			last, largest = false, max(largest, o.SizeBytes)
		}
	}
	if p.engine.HasBranch(b.ID) {
		if err := p.engine.RemoveVolume(ctx, b.ID, v.Value.ID); err != nil {
			return err
		}
		switch {
		case last && !b.ReadOnly && subdotGoes(stays, v.Value, others):
			if err := p.engine.RemoveSubdot(ctx, b.ID, v.Value.Subdot, rec); err != nil {
				return err
			}
			// The dot keeps its record, so that the project id is never given to
			// another directory: older commits still hold this one.
		case largest != v.Value.SizeBytes && !b.ReadOnly:
			limit, err := p.possible(ctx, b.ID, v.Value.Subdot, largest)
			if err != nil {
				return err
			}
			if err := p.engine.SetQuotas(ctx, b.ID, v.Value.Subdot, rec, limit, engine.HeadLimit{}); err != nil {
				return err
			}
		}
	}
	stays.Released = len(others) == 0
	return p.apply(ctx, func(t *store.Txn) {
		t.Unchanged(store.VolumeKey(v.Value.ID), v.Revision).Unchanged(store.DotKey(stays.ID), d.Revision).Epoch(b.ID, b.Epoch)
		t.DeleteVolume(v.Value.ID).PutDot(stays)
	})
}

// subdotGoes tells whether a subdot's directory may go with v, its last claim: the
// engine removes it if it was made for a claim. The claim of a PersistentVolume
// written by hand ends with each pod, so nothing goes with it. A volume that was
// never ready was never mounted, so that no directory is its. Where the whole dot
// was ever claimed, what lies in a directory may be that claim's.
func subdotGoes(d dot.Dot, v dot.Volume, others []dot.Volume) bool {
	s := v.Subdot
	if v.CSIName == "" || v.State == dot.Creating || s.IsRoot() || !d.MadeByPVC || !d.Subdots[s].MadeByClaim {
		return false
	}
	if _, whole := d.Subdots[dot.RootSubdot]; whole {
		return false
	}
	// On another branch of the dot the directory is another one, but its record is
	// the same.
	return !slices.ContainsFunc(others, func(o dot.Volume) bool { return o.Subdot == s })
}
