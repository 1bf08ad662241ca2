package server

import (
	"context"
	"errors"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// createBranch makes a branch that begins at a commit.
func (p *plane) createBranch(ctx context.Context, req *dotmeshv1.CreateBranchRequest) (*dotmeshv1.CreateBranchResponse, error) {
	// Chosen names are shorter than generated ones.
	chosen, err := dot.ParseName(req.Name)
	if err != nil {
		return nil, err
	}
	name, err := dot.ParseBranchName(chosen.String())
	if err != nil {
		return nil, err
	}
	var b dot.Branch
	err = again(ctx, func() error {
		b, err = p.recordBranch(ctx, req, name)
		return err
	})
	if err != nil {
		if !final(err) && !b.ID.IsZero() { // the answer may have been lost
			p.work.soon(p.branchJob(b.Dot, b.ID))
		}
		return nil, err
	}
	_, made, err := p.finishBranch(ctx, b.Dot, b.ID)
	if err != nil {
		return nil, p.undoBranch(ctx, b, err)
	}
	return &dotmeshv1.CreateBranchResponse{Branch: api.BranchToProto(made, p.node)}, nil
}

// undoBranch lets go of a new branch that cannot be made, so that its name is
// free. Where that is not certain the branch is finished in the background.
func (p *plane) undoBranch(ctx context.Context, b dot.Branch, cause error) error {
	if final(cause) {
		rec, there, err := found(p.store.FindBranch(ctx, b.ID))
		if err == nil && there && rec.Value.State == dot.Creating && !rec.Value.Hidden {
			_, err = p.hide(ctx, rec)
			p.work.soon(p.dotJob(b.Dot))
		}
		if err == nil {
			return cause
		}
		klog.FromContext(ctx).Error(err, "cannot undo a branch that cannot be created", "branch", b.ID)
	}
	p.work.soon(p.branchJob(b.Dot, b.ID))
	return cause
}

// recordBranch writes the branch as being created. The dot is written with it,
// because it is kept for its branches: a call that takes it away conflicts.
func (p *plane) recordBranch(ctx context.Context, req *dotmeshv1.CreateBranchRequest, name dot.BranchName) (dot.Branch, error) {
	d, err := p.findDot(ctx, req.Dot)
	if err != nil {
		return dot.Branch{}, err
	}
	from, err := p.findBranch(ctx, d.Value, req.FromBranch)
	if err != nil {
		return dot.Branch{}, err
	}
	if err := p.writable(ctx, d.Value, from.Value); err != nil {
		return dot.Branch{}, err
	}
	c, err := p.commitOn(ctx, d.Value, from.Value, req.Commit)
	if err != nil {
		return dot.Branch{}, err
	}
	b := p.branchFrom(c.Value)
	b.Name = name
	err = p.apply(ctx, func(t *store.Txn) {
		t.Absent(store.BranchKey(d.Value.ID, name)).Unchanged(store.CommitKey(d.Value.ID, c.Value.ID), c.Revision)
		t.Unchanged(store.DotKey(d.Value.ID), d.Revision).PutDot(d.Value)
		t.PutBranch(b).PutAssignment(store.Assignment{Pool: p.pool, Branch: b.ID, Dot: d.Value.ID, Role: store.RoleMaster})
	})
	var conflict *store.Conflict
	if errors.As(err, &conflict) && conflict.On(store.BranchKey(d.Value.ID, name)) {
		return b, dot.Errorf(dot.CodeExists, "dot %s has a branch %q already", d.Value.FullName, name)
	}
	return b, err
}

// branchFrom is a new branch of a commit's dot that begins at the commit.
func (p *plane) branchFrom(c dot.Commit) dot.Branch {
	return dot.Branch{
		ID: dot.NewBranchID(), Dot: c.Dot, State: dot.Creating, Master: p.pool, Created: p.now(),
		Origin: &dot.Origin{Branch: c.Branch, Commit: c.ID, Sequence: c.Sequence},
		Epoch:  dot.Epoch{Incarnation: p.cluster.Incarnation, Number: 1},
	}
}

// commitOn finds a commit in a branch's history; "" is the latest.
func (p *plane) commitOn(ctx context.Context, d dot.Dot, b dot.Branch, s string) (store.Record[dot.Commit], error) {
	none := store.Record[dot.Commit]{}
	if s != "" {
		id, err := dot.ParseCommitID(s)
		if err != nil {
			return none, err
		}
		return p.findCommit(ctx, dot.SnapshotHandle{Dot: d.ID, Commit: id})
	}
	commits, err := p.store.ListCommits(ctx, d.ID)
	if err != nil {
		return none, err
	}
	last := none
	for _, c := range commits {
		if c.Value.Branch == b.ID && !c.Value.Deleting {
			last = c
		}
	}
	if last.Value.ID.IsZero() {
		return none, dot.Precondition("branch %q of dot %s has no commit yet: make one with dm commit", b.Name, d.FullName)
	}
	return last, nil
}

// resetBranch puts a new head, begun at a commit, under the branch's name. The
// new head is made out of sight first; one transaction swaps the two.
func (p *plane) resetBranch(ctx context.Context, req *dotmeshv1.ResetBranchRequest) (*dotmeshv1.ResetBranchResponse, error) {
	if req.Commit == "" {
		return nil, dot.Invalid("say which commit to reset to")
	}
	d, err := p.findDot(ctx, req.Dot)
	if err != nil {
		return nil, err
	}
	unlock, err := p.locks.lock(ctx, dotLock(d.Value.ID))
	if err != nil {
		return nil, err
	}
	defer unlock()
	old, err := p.findBranch(ctx, d.Value, req.Branch)
	if err != nil {
		return nil, err
	}
	if err := p.writable(ctx, d.Value, old.Value); err != nil {
		return nil, err
	}
	c, err := p.commitOn(ctx, d.Value, old.Value, req.Commit)
	if err != nil {
		return nil, err
	}
	if err := p.engine.CheckReset(old.Value.ID); err != nil {
		return nil, err
	}
	b := p.branchFrom(c.Value)
	b.Hidden = true
	if b.Name, err = hiddenName(old.Value.Name, b.ID); err != nil {
		return nil, err
	}
	// Whatever fails from here on can leave the new head behind.
	defer p.work.soon(p.dotJob(d.Value.ID))
	err = p.apply(ctx, func(t *store.Txn) {
		t.Epoch(old.Value.ID, old.Value.Epoch).Unchanged(store.CommitKey(d.Value.ID, c.Value.ID), c.Revision)
		t.PutBranch(b).PutAssignment(store.Assignment{Pool: p.pool, Branch: b.ID, Dot: d.Value.ID, Role: store.RoleMaster})
	})
	if err != nil {
		return nil, err
	}
	b, err = p.swapHead(ctx, d.Value, old.Value, b)
	if err != nil {
		return nil, err
	}
	klog.FromContext(ctx).Info("reset branch", "dot", d.Value.FullName, "branch", b.Name, "to", c.Value.ID, "oldHead", old.Value.ID)
	return &dotmeshv1.ResetBranchResponse{Branch: api.BranchToProto(b, p.node)}, nil
}

// swapHead makes the new head's dataset, and puts it, and the volumes of the old
// one, under the old one's name.
func (p *plane) swapHead(ctx context.Context, d dot.Dot, old, b dot.Branch) (dot.Branch, error) {
	volumes, err := p.volumesOf(ctx, d.ID)
	if err != nil {
		return b, err
	}
	shown := b
	shown.Name, shown.Hidden, shown.State = old.Name, false, dot.Ready
	described := map[dot.VolumeID]dot.Volume{}
	volumes = onBranch(volumes, old.ID)
	for i := range volumes {
		described[volumes[i].ID] = volumes[i]
		volumes[i].Branch = b.ID
	}
	err = p.engine.Reset(ctx, old.ID, engine.BranchSpec{
		Dot: d, Branch: shown, Volumes: volumes, From: &engine.CommitRef{Branch: b.Origin.Branch, Commit: b.Origin.Commit},
	})
	if err != nil {
		return b, err
	}
	return shown, again(ctx, func() error { return p.recordSwap(ctx, old, b, shown, described) })
}

// recordSwap is the one transaction that swaps two heads. described are the
// volumes that the new head's dataset tells of. One that applies after its caller
// has given up meets a new head that is hidden for good, whose epoch hide raised.
func (p *plane) recordSwap(ctx context.Context, old, b, shown dot.Branch, described map[dot.VolumeID]dot.Volume) error {
	// First the dot: whoever joins it later than this writes it.
	d, err := p.store.GetDot(ctx, old.Dot)
	if err != nil {
		return err
	}
	if d.Value.State != dot.Ready {
		return dot.Errorf(dot.CodeAborted, "dot %s is not ready (%s); try again", d.Value.FullName, d.Value.State)
	}
	all, err := p.volumesOf(ctx, old.Dot)
	if err != nil {
		return err
	}
	var volumes []store.Record[dot.Volume]
	for _, v := range onBranch(all, old.ID) {
		rec, err := p.store.GetVolume(ctx, v.ID)
		if err != nil {
			return err
		}
		was, there := described[v.ID]
		if rec.Value.Branch = b.ID; !there || was.SizeBytes != rec.Value.SizeBytes {
			if err := p.engine.SetVolume(ctx, rec.Value, b.ID, d.Value.Subdots[v.Subdot]); err != nil {
				return err
			}
		}
		volumes = append(volumes, rec)
	}
	replaced := old
	replaced.Hidden, replaced.State, replaced.Epoch = true, dot.Deleting, old.Epoch.Next()
	if replaced.Name, err = hiddenName(old.Name, old.ID); err != nil {
		return err
	}
	return p.apply(ctx, func(t *store.Txn) {
		t.Epoch(old.ID, old.Epoch).Epoch(b.ID, b.Epoch).Unchanged(store.DotKey(old.Dot), d.Revision)
		t.DeleteBranch(old).PutBranch(replaced).DeleteBranch(b).PutBranch(shown).PutTombstone(p.tombstone(replaced))
		for _, v := range volumes {
			t.Unchanged(store.VolumeKey(v.Value.ID), v.Revision).PutVolume(v.Value)
		}
	})
}

// hiddenName is a branch's name while it is out of sight.
func hiddenName(name dot.BranchName, id dot.BranchID) (dot.BranchName, error) {
	const room = 128 - len("-HIDDEN-") - 36
	readable := name.String()
	return dot.ParseBranchName(readable[:min(len(readable), room)] + "-HIDDEN-" + id.String())
}
