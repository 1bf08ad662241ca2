package server

import (
	"context"
	"errors"
	"time"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// plane is the server once registry and pool are open: the flows of the API are
// its methods, a file each.
type plane struct {
	store   *store.Store
	engine  *engine.Engine
	cluster store.Cluster
	pool    dot.PoolID
	node    string
	lease   *leaseKeeper
	locks   *keyLocks
	work    *worker
	tails   *tails
	memory  *memory
	health  *healthCache
	peers   *peers
	about   about
	now     func() time.Time

	// stillAssigned refuses a disk that was given away.
	stillAssigned func(context.Context, *store.Store) error

	// rebuilding: the registry may lack pools, and what they hold.
	rebuilding func() bool

	growth    *growth
	published *published
	wanted    *wanted
}

// attempts is how often a flow decides anew when what it decided on changed
// under it.
const attempts = 5

// again runs decide until its transaction meets no conflict.
func again(ctx context.Context, decide func() error) error {
	var err error
	for range attempts {
		if err = decide(); !errors.Is(err, store.ErrConflict) || ctx.Err() != nil {
			return err
		}
		klog.FromContext(ctx).V(2).Info("deciding anew", "because", err)
	}
	return err
}

// apply commits what build adds to a transaction that holds only while the
// pool's lease is ours.
func (p *plane) apply(ctx context.Context, build func(*store.Txn)) error {
	_, err := p.applyAt(ctx, build)
	return err
}

// applyAt is apply, and gives the revision at which the keys were written.
func (p *plane) applyAt(ctx context.Context, build func(*store.Txn)) (int64, error) {
	lease, err := p.lease.current()
	if err != nil {
		return 0, err
	}
	t := p.store.Txn()
	lease.Guard(t)
	build(t)
	err = t.Commit(ctx)
	var conflict *store.Conflict
	if errors.As(err, &conflict) && conflict.On(store.AliveKey(p.pool)) {
		return 0, dot.Unavailable("this server has lost its lease on pool %s and takes it again; try again", p.pool)
	}
	return t.Revision(), err
}

// notWhileRebuilding refuses what would be decided on that the registry does not know
// something.
func (p *plane) notWhileRebuilding(what string) error {
	if !p.rebuilding() {
		return nil
	}
	return dot.Unavailable("%s: the registry is being rebuilt, and does not know what is on pools that are not in it yet; when the servers of all pools are ready, set recover to \"false\" in the ConfigMap configuration", what)
}

// here gives elsewhere for a branch that another pool's server must change.
func (p *plane) here(ctx context.Context, d dot.Dot, b dot.Branch) error {
	if b.Master == p.pool {
		return nil
	}
	return p.elsewhere(ctx, "dot "+d.FullName.String(), b.Master)
}

// nodeOf names the node of a pool's server; when the registry does not tell, the
// pool itself.
func (p *plane) nodeOf(ctx context.Context, pool dot.PoolID) string {
	if pool == p.pool {
		return p.node
	}
	rec, err := p.store.GetPool(ctx, pool)
	if err != nil {
		return nodeName(dot.Pool{ID: pool})
	}
	return nodeName(rec.Value)
}

// nodesOf is nodeOf for lists: the pools are read at once.
func (p *plane) nodesOf(ctx context.Context) (func(dot.PoolID) string, error) {
	pools, err := p.store.ListPools(ctx)
	if err != nil {
		return nil, err
	}
	names := make(map[dot.PoolID]string, len(pools))
	for _, rec := range pools {
		names[rec.Value.ID] = nodeName(rec.Value)
	}
	return func(pool dot.PoolID) string {
		if name, ok := names[pool]; ok {
			return name
		}
		return nodeName(dot.Pool{ID: pool})
	}, nil
}

// volumesOf lists the claims on a dot. Who decides on them compares the dot's
// revision, read before: every change of the set writes the dot.
func (p *plane) volumesOf(ctx context.Context, id dot.ID) ([]dot.Volume, error) {
	all, err := p.store.ListVolumesOf(ctx, id)
	if err != nil {
		return nil, err
	}
	var of []dot.Volume
	for _, rec := range all {
		of = append(of, rec.Value)
	}
	return of, nil
}

// found turns CodeNotFound into false.
func found[T any](rec store.Record[T], err error) (store.Record[T], bool, error) {
	if err != nil && dot.CodeOf(err) == dot.CodeNotFound {
		return rec, false, nil
	}
	return rec, err == nil, err
}
