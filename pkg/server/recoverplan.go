package server

import (
	"context"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// recovered is what a registry is filled with from a pool.
type recovered struct {
	dots       []dot.Dot
	branches   []dot.Branch
	commits    []dot.Commit
	volumes    []dot.Volume
	tombstones []store.Tombstone
	// notes tell the administrator what could not be taken over as it was.
	notes []string
}

// highestIncarnation is the newest that a pool has seen.
func highestIncarnation(inv engine.Inventory) uint64 {
	highest := inv.Incarnation
	for _, b := range inv.Branches {
		highest = max(highest, b.Branch.Epoch.Incarnation)
	}
	return highest
}

// planRecovery reads a pool's inventory into records. It is pure and gives the
// same for the same pool, so that it can be repeated after a crash.
func planRecovery(inv engine.Inventory, pool dot.PoolID, incarnation uint64, now time.Time) recovered {
	r := &recovery{
		incarnation: incarnation, pool: pool, now: now,
		dots: map[dot.ID]*dot.Dot{}, names: map[dot.FullName]dot.ID{},
		branches: map[dot.ID]map[dot.BranchName]bool{}, visible: map[dot.ID]bool{},
		claims: map[dot.VolumeID]int{},
	}
	// Branches come by age. Those that are out of sight take names last, because
	// theirs matter to nobody.
	for _, hidden := range []bool{false, true} {
		for _, f := range inv.Branches {
			if f.Branch.Hidden == hidden {
				r.addBranch(f)
			}
		}
	}
	for _, f := range inv.Commits {
		r.addCommit(f)
	}
	for _, f := range inv.Receiving {
		r.note("the half-received dataset " + f.Dataset.String() + " is left as it is")
	}
	for _, u := range inv.Unknown {
		r.note(u.Name + " is left as it is: " + u.Reason)
	}
	return r.finish()
}

type recovery struct {
	recovered
	incarnation uint64
	pool        dot.PoolID
	now         time.Time

	dots     map[dot.ID]*dot.Dot
	order    []dot.ID
	names    map[dot.FullName]dot.ID
	branches map[dot.ID]map[dot.BranchName]bool
	visible  map[dot.ID]bool      // dots with a branch that is not hidden
	claims   map[dot.VolumeID]int // where in volumes each one is
}

func (r *recovery) note(s string) { r.notes = append(r.notes, s) }

func (r *recovery) addBranch(f engine.FoundBranch) {
	d, known := r.dots[f.Dot.ID]
	if !known {
		added := f.Dot
		d = &added
		r.dots[d.ID] = d
		r.order = append(r.order, d.ID)
		r.branches[d.ID] = map[dot.BranchName]bool{}
	} else {
		for s, rec := range f.Dot.Subdots {
			if _, there := d.Subdots[s]; !there {
				if d.Subdots == nil {
					d.Subdots = map[dot.Subdot]dot.SubdotRecord{}
				}
				d.Subdots[s] = rec
			}
		}
	}
	b := f.Branch
	b.Dot, b.Master, b.State = d.ID, r.pool, dot.Ready
	b.Epoch = dot.Epoch{Incarnation: r.incarnation, Number: max(b.Epoch.Number, 1)}
	if r.branches[d.ID][b.Name] {
		// The elder keeps the name: the other one was not put in its place yet
		// when the registry was lost, or was replaced by it.
		name, err := hiddenName(b.Name, b.ID)
		if err != nil {
			r.note("branch " + b.ID.String() + " of dot " + d.FullName.String() + " is left out: " + err.Error())
			return
		}
		if !b.Hidden {
			r.note("dot " + d.FullName.String() + " had two branches " + b.Name.String() + "; the younger is now " + name.String())
		}
		b.Name = name
	}
	r.branches[d.ID][b.Name] = true
	if b.Hidden {
		// Its claims went before it did, or moved to the head that took its place.
		r.tombstones = append(r.tombstones, store.Tombstone{Branch: b.ID, Dot: d.ID, Epoch: b.Epoch, Pools: []dot.PoolID{r.pool}, Deleted: r.now})
		r.recovered.branches = append(r.recovered.branches, b)
		return
	}
	r.visible[d.ID] = true
	r.recovered.branches = append(r.recovered.branches, b)
	for _, v := range f.Volumes {
		v.Dot, v.Branch, v.State, v.Publications = d.ID, b.ID, dot.Ready, nil
		r.addVolume(v)
	}
}

// addVolume decides between two branches that both tell of a volume. In one dot
// the elder was to be replaced by a reset: it has the name, so it has the volume.
// In another dot the younger was made for a volume of the same CSI name after the
// first one was deleted.
func (r *recovery) addVolume(v dot.Volume) {
	i, taken := r.claims[v.ID]
	switch {
	case !taken:
		r.claims[v.ID] = len(r.volumes)
		r.volumes = append(r.volumes, v)
		return
	case r.volumes[i].Dot != v.Dot:
		v, r.volumes[i] = r.volumes[i], v
	}
	r.note("volume " + v.ID.String() + " is claimed on two branches, and stays on " + r.volumes[i].Branch.String() + ", not " + v.Branch.String())
}

func (r *recovery) addCommit(f engine.FoundCommit) {
	_, known := r.dots[f.Commit.Dot]
	switch {
	case f.Deleted: // it goes with the last of its clones
	case !known:
		r.note("commit " + f.Snapshot.String() + " is of a dot that is not on this pool; its snapshot is left as it is")
	default:
		r.commits = append(r.commits, f.Commit)
	}
}

// finish settles names and the fate of whole dots.
func (r *recovery) finish() recovered {
	claimed := map[dot.ID]bool{}
	for _, v := range r.volumes {
		claimed[v.Dot] = true
	}
	// A dot that was on its way out had given its name away: to one with a volume.
	slices.SortStableFunc(r.order, func(a, b dot.ID) int {
		switch {
		case claimed[a] == claimed[b]:
			return 0
		case claimed[a]:
			return -1
		}
		return 1
	})
	for _, id := range r.order {
		d := r.dots[id]
		d.State = dot.Ready
		if !r.visible[id] {
			d.State = dot.Deleting // only commits of VolumeSnapshots kept it
		} else if other, taken := r.names[d.FullName]; taken {
			old := d.FullName
			d.FullName.Name = dot.NameFor(old.Name.String() + "." + id.String())
			r.note("the dots " + id.String() + " and " + other.String() + " are both called " + old.String() + "; the first is now " + d.FullName.String())
		}
		if d.State == dot.Ready {
			r.names[d.FullName] = id
			d.Released = d.Released || d.MadeByPVC && !claimed[id]
		}
		r.recovered.dots = append(r.recovered.dots, *d)
	}
	slices.SortStableFunc(r.commits, func(a, b dot.Commit) int { return a.Time.Compare(b.Time) })
	return r.recovered
}

// write fills the registry in pieces. mark is the revision of the mark that says
// so, without which nothing is written.
func (r recovered) write(ctx context.Context, s *store.Store, pool dot.PoolID, mark int64) error {
	b := batch{store: s, ctx: ctx, mark: mark}
	for _, d := range r.dots {
		b.add(2, func(t *store.Txn) {
			t.PutDot(d)
			if d.State == dot.Ready {
				t.PutName(d.FullName, d.ID)
			}
		})
	}
	for _, br := range r.branches {
		b.add(4, func(t *store.Txn) {
			t.PutBranch(br).PutAssignment(store.Assignment{Pool: pool, Branch: br.ID, Dot: br.Dot, Role: store.RoleMaster})
		})
	}
	for _, c := range r.commits {
		b.add(2, func(t *store.Txn) {
			t.PutCommit(c)
			if c.CSIName != "" {
				t.PutSnapshot(store.Snapshot{CSIName: c.CSIName, Dot: c.Dot, Commit: c.ID, Volume: c.Volume})
			}
		})
	}
	for _, v := range r.volumes {
		b.add(1, func(t *store.Txn) { t.PutVolume(v) })
	}
	for _, t := range r.tombstones {
		b.add(1, func(txn *store.Txn) { txn.PutTombstone(t) })
	}
	return b.flush()
}

// batch gathers changes into transactions of a size that etcd takes.
type batch struct {
	store *store.Store
	ctx   context.Context
	mark  int64
	txn   *store.Txn
	size  int
	err   error
}

func (b *batch) add(keys int, change func(*store.Txn)) {
	const most = 100
	if b.size+keys > most {
		b.err = b.flush()
	}
	if b.err != nil {
		return
	}
	if b.txn == nil {
		b.txn = b.store.Txn().Unchanged(store.RecoveringKey(), b.mark)
	}
	change(b.txn)
	b.size += keys
}

func (b *batch) flush() error {
	if b.err == nil && b.txn != nil {
		b.err = b.txn.Commit(b.ctx)
	}
	b.txn, b.size = nil, 0
	return b.err
}

// recoverRegistry fills a registry with what the pool holds and gives it the
// identity of the pool's cluster, with a raised incarnation. The mark is written
// before anything else and goes with the last write, so that a registry that a
// crash left half-filled is known as such.
func recoverRegistry(ctx context.Context, s *store.Store, e *engine.Engine, f footing, node string) (store.Cluster, error) {
	none := store.Cluster{}
	inv, err := e.Inventory(ctx)
	if err != nil {
		return none, err
	}
	mark, err := markRecovery(ctx, s, f, store.Recovery{Cluster: f.id, Pool: e.PoolID(), Node: node, Began: time.Now().UTC()})
	if err != nil {
		return none, err
	}
	c := store.Cluster{ID: f.id, Incarnation: max(highestIncarnation(inv), f.registry.Value.Incarnation) + 1}
	plan := planRecovery(inv, e.PoolID(), c.Incarnation, time.Now())
	logger := klog.FromContext(ctx)
	for _, n := range plan.notes {
		logger.Info("recover: " + n)
	}
	for _, u := range inv.Branches {
		if !u.Branch.Hidden {
			logger.V(1).Info("recover: found", "dot", u.Dot.FullName, "branch", u.Branch.Name, "volumes", len(u.Volumes))
		}
	}
	if err := plan.write(ctx, s, e.PoolID(), mark); err != nil {
		return none, err
	}
	// Before the registry: what a pool has never seen would be given out again.
	if err := e.RaiseIncarnation(ctx, c.Incarnation); err != nil {
		return none, err
	}
	last := s.Txn().Unchanged(store.ClusterKey(), f.registry.Revision).Unchanged(store.RecoveringKey(), mark)
	if err := last.PutCluster(c).Delete(store.RecoveringKey()).Commit(ctx); err != nil {
		return none, err
	}
	logger.Info("recovered the registry from the pool", "dots", len(plan.dots), "branches", len(plan.branches), "commits", len(plan.commits), "volumes", len(plan.volumes), "incarnation", c.Incarnation)
	return c, nil
}

// markRecovery gives the revision of the mark, and writes it unless an earlier
// run did.
func markRecovery(ctx context.Context, s *store.Store, f footing, mark store.Recovery) (int64, error) {
	if f.mark != 0 {
		klog.FromContext(ctx).Info("going on with a recovery that was interrupted")
		return f.mark, nil
	}
	t := s.Txn().Absent(store.RecoveringKey()).Unchanged(store.ClusterKey(), f.registry.Revision).PutRecovery(mark)
	err := t.Commit(ctx)
	return t.Revision(), err
}
