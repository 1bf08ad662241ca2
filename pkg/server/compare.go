package server

import (
	"context"
	"path"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// registered is what the registry knows of all that can lie on a pool.
type registered struct {
	pool        dot.PoolID
	incarnation uint64
	// compared is the incarnation at which the registry was last found to know what is
	// on the pool, or was given it by a recovery.
	compared uint64
	branches map[dot.BranchID]dot.Branch
	// stays: dots that are not on their way out.
	stays map[dot.ID]bool
	// volumes, and the branch that each claims.
	volumes map[dot.VolumeID]dot.BranchID
	// commits are those that were made, and those that an intent has begun.
	commits map[commitOn]bool
}

type commitOn struct {
	branch dot.BranchID
	commit dot.CommitID
}

// readRegistered is called when the pool was listed. Nothing is begun meanwhile, but a
// transaction that was on its way can be applied between two reads. Whatever it
// forgets, it leaves an excuse for in what is read later: a claim that went, in its
// dot; an intent, in its commit or in its branch's epoch; and whatever else went, in
// branches that moved on or out of sight. What it makes known is not on the pool yet,
// or was, as the dataset of a branch that is ready, when that was listed.
func (p *plane) readRegistered(ctx context.Context) (registered, error) {
	known := registered{
		pool: p.pool, incarnation: p.cluster.Incarnation, branches: map[dot.BranchID]dot.Branch{}, stays: map[dot.ID]bool{},
		volumes: map[dot.VolumeID]dot.BranchID{}, commits: map[commitOn]bool{},
	}
	pool, err := p.store.GetPool(ctx, p.pool)
	if err != nil {
		return known, err
	}
	known.compared = pool.Value.Incarnation
	volumes, err := p.store.ListAllVolumes(ctx)
	if err != nil {
		return known, err
	}
	for _, v := range volumes {
		known.volumes[v.Value.ID] = v.Value.Branch
	}
	intents, err := p.store.ListIntents(ctx)
	if err != nil {
		return known, err
	}
	for _, i := range intents {
		known.commits[commitOn{i.Value.Commit.Branch, i.Value.Commit.ID}] = true
	}
	commits, err := p.store.ListAllCommits(ctx)
	if err != nil {
		return known, err
	}
	for _, c := range commits {
		known.commits[commitOn{c.Value.Branch, c.Value.ID}] = true
	}
	dots, err := p.store.ListDots(ctx)
	if err != nil {
		return known, err
	}
	for _, d := range dots {
		known.stays[d.Value.ID] = d.Value.State != dot.Deleting
	}
	branches, err := p.store.ListAllBranches(ctx)
	if err != nil {
		return known, err
	}
	for _, b := range branches {
		known.branches[b.Value.ID] = b.Value
	}
	return known, nil
}

// vet refuses a registry that cannot have seen all that happened on the pool. Each
// flow writes the registry before the pool when it makes something, and after it
// when it destroys something, so that no crash leaves what is looked for here:
//   - a branch that the registry does not know, of the incarnation at which the two
//     were compared last, or a later one. One of an earlier incarnation is what a
//     recovery left out, which gives the registry one above all that the pool has
//     seen. That of the registry itself tells nothing: it rises with every recovery
//     of another pool, also in a registry from a backup.
//   - a branch that is further on than its record, as one that was put out of sight.
//   - a claim on a branch in sight, of a dot that stays, that is not recorded.
//   - a commit of the branch's present epoch, or a later one, that is neither
//     recorded nor begun. What a crash leaves of a commit is of an epoch that
//     passed; the base of a clone, which is never recorded, tells of none.
//   - a branch of this pool, in sight and ready, without its dataset, which is there
//     before the branch is ready and until it is out of sight.
func (k registered) vet(inv engine.Inventory) error {
	if err := notOlder(k.compared, inv.Incarnation); err != nil {
		return err
	}
	for _, f := range inv.Branches {
		b, known := k.branches[f.Branch.ID]
		at := f.Branch.Epoch
		switch {
		case at.Incarnation > k.incarnation:
			return olderRegistry("branch %s of dot %s has seen incarnation %d, and the registry is at %d", f.Branch.ID, f.Dot.FullName, at.Incarnation, k.incarnation)
		case !known && at.Incarnation >= k.compared:
			return olderRegistry("it does not know branch %s (%s) of dot %s, which was made on %s", f.Branch.Name, f.Branch.ID, f.Dot.FullName, f.Branch.Created)
		case known && at.Compare(b.Epoch) > 0:
			return olderRegistry("branch %s (%s) of dot %s is at epoch %s, and in the registry at %s", f.Branch.Name, f.Branch.ID, f.Dot.FullName, at, b.Epoch)
		case known && !b.Hidden && k.stays[b.Dot]:
			for _, v := range f.Volumes {
				if k.volumes[v.ID].IsZero() {
					return olderRegistry("it does not know volume %s (claim %s/%s) of dot %s", v.ID, v.KubernetesNamespace, v.PVCName, f.Dot.FullName)
				}
			}
		}
	}
	for _, f := range inv.Commits {
		c := f.Commit
		b, known := k.branches[c.Branch]
		tells := c.Epoch != dot.Epoch{}
		if known && tells && !f.Deleted && c.Epoch.Compare(b.Epoch) >= 0 && !k.commits[commitOn{c.Branch, c.ID}] {
			return olderRegistry("it does not know commit %s, which was made on %s", f.Snapshot, c.Time)
		}
	}
	return k.vetGone(inv)
}

// vetGone looks for a branch whose dataset is gone.
func (k registered) vetGone(inv engine.Inventory) error {
	there := map[string]bool{}
	for _, f := range inv.Branches {
		there[f.Branch.ID.String()] = true
	}
	for _, f := range inv.Receiving {
		there[f.Dataset.Base()] = true
	}
	for _, u := range inv.Unknown {
		there[path.Base(u.Name)] = true // a dataset that cannot be read, and is there
	}
	for _, b := range k.branches {
		if b.Master == k.pool && b.State == dot.Ready && !b.Hidden && k.stays[b.Dot] && !there[b.ID.String()] {
			return olderRegistry("branch %s (%s) of dot %s is in use there, and its dataset is gone, as after a deletion or a reset, or because somebody destroyed it", b.Name, b.ID, b.Dot)
		}
	}
	return nil
}

// isHeld tells whether a head is read-only that its pool's server may write: a
// start beside a registry that did not know it, or its loss, made it so.
func (k registered) isHeld(f engine.FoundBranch, pool dot.PoolID) bool {
	b, known := k.branches[f.Branch.ID]
	return known && f.ReadOnly && b.Master == pool && !b.Hidden && !b.ReadOnly && !f.Branch.ReadOnly
}

// strayClaims are those that a branch in sight tells of and that are on another one:
// a recovery found them on both heads of a reset that was not finished. Left there,
// they would outlive their volumes.
func (k registered) strayClaims(f engine.FoundBranch, pool dot.PoolID) []dot.VolumeID {
	var stray []dot.VolumeID
	if b, known := k.branches[f.Branch.ID]; !known || b.Hidden || b.State != dot.Ready || b.Master != pool {
		return nil
	}
	for _, v := range f.Volumes {
		if at := k.volumes[v.ID]; !at.IsZero() && at != f.Branch.ID {
			stray = append(stray, v.ID)
		}
	}
	return stray
}

// checkInventory compares the pool with the registry once, at start. A registry
// older than what the pool has seen is refused before anything is changed; what
// the registry does not know is kept, read-only, and reported; and heads that it
// gives to this server are made writable again.
func (p *plane) checkInventory(ctx context.Context, inv engine.Inventory) error {
	known, err := p.readRegistered(ctx)
	if err != nil {
		return err
	}
	if err := known.vet(inv); err != nil {
		return err
	}
	logger := klog.FromContext(ctx)
	for _, f := range inv.Branches {
		if known.isHeld(f, p.pool) {
			if err := p.engine.InheritFence(ctx, f.Branch.ID, false); err != nil {
				return err
			}
			logger.Info("a head that was kept read-only is writable again", "dataset", f.Dataset, "dot", f.Dot.FullName)
		}
		for _, id := range known.strayClaims(f, p.pool) {
			if err := p.engine.RemoveVolume(ctx, f.Branch.ID, id); err != nil {
				return err
			}
			logger.Info("removed what a branch told of a volume that is on another one", "dataset", f.Dataset, "volume", id)
		}
		if _, there := known.branches[f.Branch.ID]; there {
			continue
		}
		logger.Info("a dataset that the registry does not know is kept, read-only", "dataset", f.Dataset, "dot", f.Dot.FullName)
		if !f.ReadOnly {
			if err := p.engine.AdoptReadOnly(ctx, f.Dataset); err != nil {
				return err
			}
		}
	}
	for _, u := range inv.Unknown {
		logger.Info("something that is not ours lies below our root and is left alone", "name", u.Name, "reason", u.Reason)
	}
	return nil
}

// noteCompared records that the registry knows what is on the pool, from this
// incarnation on. It comes after every look of a start, and before anything is made:
// a look that refuses must not have the next one take what it found for left out.
func (p *plane) noteCompared(ctx context.Context, lease heldLease) error {
	rec, err := p.store.GetPool(ctx, p.pool)
	if err != nil || rec.Value.Incarnation == p.cluster.Incarnation {
		return err
	}
	rec.Value.Incarnation = p.cluster.Incarnation
	t := p.store.Txn().Unchanged(store.PoolKey(p.pool), rec.Revision).PutPool(rec.Value)
	lease.Guard(t)
	return t.Commit(ctx)
}

// isSameRegistry refuses a registry that was put in the place of the one that this
// server began with. One that was rebuilt from another pool can have the same
// incarnation, but does not know this pool.
func (p *plane) isSameRegistry(ctx context.Context) error {
	now, there, err1 := found(p.store.GetCluster(ctx))
	_, registered, err2 := found(p.store.GetPool(ctx, p.pool))
	if err := firstError(err1, err2); err != nil {
		return err
	}
	if !there || !registered || now.Value.ID != p.cluster.ID || now.Value.Incarnation != p.cluster.Incarnation {
		return dot.Precondition("the registry is not the one that this server began with (cluster %s, incarnation %d): it begins anew", p.cluster.ID, p.cluster.Incarnation)
	}
	return nil
}

// compareAgain refuses a registry that was put back under this server. The pool is
// listed first, as commands of calls may still run: what they make is recorded
// before, and nothing is recorded, or forgotten, while the lease is not served.
func (p *plane) compareAgain(ctx context.Context) error {
	inv, err := p.engine.Inventory(ctx)
	if err != nil {
		return err
	}
	known, err := p.readRegistered(ctx)
	if err != nil {
		return err
	}
	return known.vet(inv)
}

// checkHeads makes every head of this pool read-only that the registry gave to
// another one meanwhile. It runs before the fence is lifted.
func (p *plane) checkHeads(ctx context.Context) error {
	branches, err := p.store.ListAllBranches(ctx)
	if err != nil {
		return err
	}
	for _, b := range branches {
		if b.Value.Master == p.pool || !p.engine.HasBranch(b.Value.ID) {
			continue
		}
		head, err := p.engine.Parent().Child(b.Value.ID.String())
		if err != nil {
			return err
		}
		if err := p.engine.AdoptReadOnly(ctx, head); err != nil {
			return err
		}
		klog.FromContext(ctx).Info("head belongs to another pool now, made read-only", "branch", b.Value.ID, "pool", b.Value.Master)
	}
	return nil
}
