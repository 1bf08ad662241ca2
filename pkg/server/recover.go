package server

import (
	"context"
	"time"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// recoverRegistry adds to a registry what the pool holds. An empty one gets the
// identity of the pool's cluster too, with a raised incarnation; one that others serve
// from already keeps its own, unless this pool has seen as much. The mark is written
// before anything else and goes with the last write, so that what a crash left
// half-written is known as such, and one pool is added at a time.
func recoverRegistry(ctx context.Context, s *store.Store, e *engine.Engine, f footing, node string) (store.Cluster, error) {
	none := store.Cluster{}
	inv, err := e.Inventory(ctx)
	if err != nil {
		return none, err
	}
	c := f.clusterAfter(inv)
	mark, err := markRecovery(ctx, s, f, store.Recovery{Cluster: c.ID, Pool: e.PoolID(), Node: node, Began: time.Now().UTC(), Incarnation: c.Incarnation})
	if err != nil {
		return none, err
	}
	for _, u := range inv.Branches {
		if !u.Branch.Hidden {
			klog.FromContext(ctx).V(1).Info("recover: found", "dot", u.Dot.FullName, "branch", u.Branch.Name, "volumes", len(u.Volumes))
		}
	}
	// Servers of other pools change the registry meanwhile.
	if err := again(ctx, func() error { return addPool(ctx, s, inv, e.PoolID(), c.Incarnation, mark) }); err != nil {
		return none, err
	}
	// Before the registry: what a pool has never seen would be given out again.
	if err := e.RaiseIncarnation(ctx, c.Incarnation); err != nil {
		return none, err
	}
	return c, endRecovery(ctx, s, f, recoveredPool(e.PoolID(), node), c, mark)
}

// endRecovery takes the mark away. From here on the registry knows what is on the pool
// of this incarnation, whatever a record from before the mark said. Earlier versions
// wrote none with the mark.
func endRecovery(ctx context.Context, s *store.Store, f footing, pool dot.Pool, c store.Cluster, mark int64) error {
	rec, registered, err := found(s.GetPool(ctx, pool.ID))
	if err != nil {
		return err
	}
	if !registered {
		rec.Value = pool
	}
	rec.Value.Incarnation = c.Incarnation
	last := s.Txn().Unchanged(store.ClusterKey(), f.registry.Revision).Unchanged(store.RecoveringKey(), mark)
	last.Unchanged(store.PoolKey(pool.ID), rec.Revision).PutPool(rec.Value)
	if c != f.registry.Value {
		last.PutCluster(c)
	}
	return last.Delete(store.RecoveringKey()).Commit(ctx)
}

// recoveredPool is the record of a pool that the registry did not know.
func recoveredPool(id dot.PoolID, node string) dot.Pool {
	return dot.Pool{ID: id, Node: node, PromisedFence: promisedFence}
}

// clusterAfter is the registry's identity when the pool is in it: of an incarnation
// above all that the pool has seen, so that what is left out is known as such. It is
// decided when the mark is written.
func (f footing) clusterAfter(inv engine.Inventory) store.Cluster {
	now, seen := f.registry.Value, highestIncarnation(inv)
	c := store.Cluster{ID: f.id, Incarnation: f.incarnation}
	if now.ID == f.id {
		c.Unknown = now.Unknown
	}
	switch {
	case c.Incarnation > 0:
	case now.ID == f.id && now.Incarnation > seen:
		c.Incarnation = now.Incarnation
	default:
		c.Incarnation = max(now.Incarnation, seen) + 1
	}
	return c
}

// markRecovery gives the revision of the mark, and writes it unless an earlier
// run did. The pool is registered with it, so that who asks for what is added waits
// for its server.
func markRecovery(ctx context.Context, s *store.Store, f footing, mark store.Recovery) (int64, error) {
	if f.mark != 0 {
		klog.FromContext(ctx).Info("going on with a recovery that was interrupted")
		return f.mark, nil
	}
	t := s.Txn().Absent(store.RecoveringKey()).Unchanged(store.ClusterKey(), f.registry.Revision).PutRecovery(mark)
	t.Unchanged(store.PoolKey(mark.Pool), f.registered)
	if f.registered == 0 {
		pool := recoveredPool(mark.Pool, mark.Node)
		pool.Incarnation = mark.Incarnation
		t.PutPool(pool)
	}
	err := t.Commit(ctx)
	return t.Revision(), err
}

// addPool writes what the registry lacks of the pool.
func addPool(ctx context.Context, s *store.Store, inv engine.Inventory, pool dot.PoolID, incarnation uint64, mark int64) error {
	has, err := readHolding(ctx, s)
	if err != nil {
		return err
	}
	plan := planRecovery(inv, pool, incarnation, time.Now(), has)
	logger := klog.FromContext(ctx)
	for _, n := range plan.notes {
		logger.Info("recover: " + n)
	}
	if err := plan.write(ctx, s, pool, mark); err != nil {
		return err
	}
	logger.Info("added the pool to the registry", "dots", len(plan.dots), "branches", len(plan.branches), "commits", len(plan.commits), "volumes", len(plan.volumes), "incarnation", incarnation)
	return nil
}

func readHolding(ctx context.Context, s *store.Store) (holding, error) {
	has := holding{
		dots: map[dot.ID]dot.Dot{}, branches: map[dot.BranchID]dot.Branch{}, commits: map[dot.SnapshotHandle]bool{},
		snapshots: map[string]dot.SnapshotHandle{}, volumes: map[dot.VolumeID]dot.BranchID{},
	}
	dots, err1 := s.ListDots(ctx)
	branches, err2 := s.ListAllBranches(ctx)
	commits, err3 := s.ListAllCommits(ctx)
	volumes, err4 := s.ListAllVolumes(ctx)
	var err5 error
	has.names, err5 = s.ListNames(ctx)
	if err := firstError(err1, err2, err3, err4, err5); err != nil {
		return has, err
	}
	for _, d := range dots {
		has.dots[d.Value.ID] = d.Value
	}
	for _, b := range branches {
		has.branches[b.Value.ID] = b.Value
	}
	for _, c := range commits {
		has.commits[dot.SnapshotHandle{Dot: c.Value.Dot, Commit: c.Value.ID}] = true
	}
	for _, v := range volumes {
		has.volumes[v.Value.ID] = v.Value.Branch
	}
	for after, more := "", true; more; {
		var page []store.Record[store.Snapshot]
		var err error
		if page, more, err = s.ListSnapshots(ctx, after, 0); err != nil {
			return has, err
		}
		for _, rec := range page {
			after = rec.Value.CSIName
			has.snapshots[after] = dot.SnapshotHandle{Dot: rec.Value.Dot, Commit: rec.Value.Commit}
		}
	}
	return has, nil
}

// write adds to the registry in pieces. mark is the revision of the mark that says
// so, without which nothing is written; nor is anything where it is found that the
// registry has it by now (store.ErrConflict). A dot comes with a branch, without which
// it would be taken for one that is gone, and volumes come last, for the same reason.
func (r recovered) write(ctx context.Context, s *store.Store, pool dot.PoolID, mark int64) error {
	b := batch{store: s, ctx: ctx, mark: mark}
	dots, tombstones := map[dot.ID]dot.Dot{}, map[dot.BranchID]store.Tombstone{}
	for _, d := range r.dots {
		dots[d.ID] = d
	}
	for _, t := range r.tombstones {
		tombstones[t.Branch] = t
	}
	for _, br := range r.branches {
		b.add(7, func(t *store.Txn) {
			if d, first := dots[br.Dot]; first {
				addDot(t, d)
				delete(dots, br.Dot)
			}
			t.Absent(store.BranchKey(br.Dot, br.Name)).Absent(store.BranchIDKey(br.ID)).PutBranch(br)
			t.PutAssignment(store.Assignment{Pool: pool, Branch: br.ID, Dot: br.Dot, Role: store.RoleMaster})
			if gone, there := tombstones[br.ID]; there {
				t.PutTombstone(gone)
			}
		})
	}
	for _, c := range r.commits {
		b.add(2, func(t *store.Txn) { t.Absent(store.CommitKey(c.Dot, c.ID)).PutCommit(c) })
	}
	for _, snapshot := range r.snapshots {
		b.add(1, func(t *store.Txn) { t.Absent(store.SnapshotKey(snapshot.CSIName)).PutSnapshot(snapshot) })
	}
	for _, v := range r.volumes {
		b.add(1, func(t *store.Txn) { t.Absent(store.VolumeKey(v.ID)).PutVolume(v) })
	}
	return b.flush()
}

func addDot(t *store.Txn, d dot.Dot) {
	t.Absent(store.DotKey(d.ID)).PutDot(d)
	if d.State == dot.Ready {
		t.ClaimName(d.FullName, d.ID)
	}
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
	// A record is far less than the other half: a commit's, with a message that JSON
	// escapes, has up to 100 KiB.
	if b.txn.Bytes() > store.MaxTxnBytes/2 {
		b.err = b.flush()
	}
}

func (b *batch) flush() error {
	if b.err == nil && b.txn != nil {
		b.err = b.txn.Commit(b.ctx)
	}
	b.txn, b.size = nil, 0
	return b.err
}
