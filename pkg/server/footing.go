package server

import (
	"context"
	"errors"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// footing is what a start stands on: which cluster the registry and the pool's
// root say that they are of.
type footing struct {
	id string // of the cluster that this server serves
	// registry is the registry's own identity; the zero value: it has none yet.
	registry store.Record[store.Cluster]
	// registered is the revision of the pool's record, 0 for none.
	registered int64
	// recover: what the pool holds has to be added to the registry first. mark is the
	// revision of the mark that an interrupted recovery left, 0 for none, and
	// incarnation what that had decided on.
	recover     bool
	mark        int64
	incarnation uint64
}

// errNeedsLeave is in the chain of refusals that end when the server may recover.
var errNeedsLeave = errors.New(`start with --recover, or set recover to "true" in the ConfigMap configuration`)

// findFooting refuses a registry and a root that do not go together. leave is that to
// recover: --recover, or the setting, which may both stay, as a pool that the registry
// knows starts as usual.
//
// A registry knows every pool that was served under it. One that has seen a registry
// of its cluster, and that this one does not know, was left out by a recovery from
// other pools, or a backup is from before it.
//
// While the mark of another pool's recovery is there only pools that the registry
// knows start; all else waits: until the registry has an identity, or has what may
// have the same names.
func findFooting(ctx context.Context, st *store.Store, root engine.Identity, leave bool) (footing, error) {
	mark, marked, err1 := found(st.GetRecovery(ctx))
	rec, there, err2 := found(st.GetCluster(ctx))
	known, registered, err3 := found(st.GetPool(ctx, root.Pool))
	if err := firstError(err1, err2, err3); err != nil {
		return footing{}, err
	}
	f := footing{id: rec.Value.ID, registry: rec, registered: known.Revision}
	ours := there && root.Cluster == f.id
	switch {
	case marked && mark.Value.Pool == root.Pool:
		f.mark, f.incarnation = mark.Revision, mark.Value.Incarnation
		return f.recovering(mark.Value.Cluster, leave, "the registry is incomplete: adding this pool to it was interrupted")
	case marked && !(ours && registered):
		return footing{}, dot.Unavailable("what pool %s of node %q holds is being added to the registry: this server waits for that node's (if that pool is lost, begin again with an empty etcd)", mark.Value.Pool, mark.Value.Node)
	case !there && root.Cluster != "":
		return f.recovering(root.Cluster, leave, "the registry is empty, but the pool belongs to cluster %s: check --etcd-endpoints, and if that cluster's registry is lost, have it rebuilt from the pools", root.Cluster)
	case !there && leave:
		return footing{}, dot.Unavailable("the registry is empty and may be rebuilt from pools, and this pool is new: this server waits for that of a pool which has served before (for a new cluster take --recover away, or set recover to \"false\" in the ConfigMap configuration)")
	case !there:
		var err error
		f.registry, err = st.EnsureCluster(ctx)
		f.id = f.registry.Value.ID
		return f, err
	case ours && !registered && root.Incarnation > 0:
		return f.recovering(f.id, leave, "the registry was rebuilt from other pools, or comes from a backup, and does not know this pool, which has served before: nothing was changed; have it added to the registry")
	case ours:
		return f, notOlder(known.Value.Incarnation, root.Incarnation)
	case root.Cluster == "":
		return f, nil
	}
	return f.ofAnother(ctx, st, root, leave)
}

// ofAnother is about a pool of another cluster than the registry's, which may be one
// that was never used. One that another pool has begun, though nothing was made in it
// yet, is not given another identity: that pool's server goes on, and could never come
// back to what it makes.
func (f footing) ofAnother(ctx context.Context, st *store.Store, root engine.Identity, leave bool) (footing, error) {
	empty, err1 := st.Empty(ctx)
	pools, err2 := st.ListPools(ctx)
	if err := firstError(err1, err2); err != nil {
		return footing{}, err
	}
	owner := root.Cluster
	for _, p := range pools {
		if empty && leave && p.Value.ID != root.Pool {
			return footing{}, dot.Precondition("the new pool %s of node %q has begun cluster %s in the registry: take that node out, delete its pool, which holds nothing yet, and begin again with an empty etcd", p.Value.ID, p.Value.Node, f.id)
		}
	}
	switch {
	case empty:
		return f.recovering(owner, leave, "the registry is of cluster %s, and holds nothing, but the pool belongs to cluster %s: check --etcd-endpoints, and if that cluster's registry is lost, have it rebuilt from the pools", f.id, owner)
	case leave:
		return footing{}, dot.Precondition("--recover adds a pool to its own cluster's registry or to an empty one, and this one (cluster %s) is in use: start without --recover", f.id)
	}
	return f, nil // the engine refuses it
}

// recovering has the pool added to the registry, or tells why that needs leave.
func (f footing) recovering(id string, leave bool, why string, args ...any) (footing, error) {
	if !leave {
		return footing{}, dot.Precondition(why+": %w", append(args, errNeedsLeave)...)
	}
	f.id, f.recover = id, true
	return f, nil
}

// notOlder refuses a registry that is behind what a pool has seen: the pool's record
// tells of a higher incarnation before the pool does. The registry's own may have been
// raised since for another pool, and tells nothing.
func notOlder(compared, seen uint64) error {
	if seen <= compared {
		return nil
	}
	return olderRegistry("the pool has seen incarnation %d, and the registry has last seen the pool at %d", seen, compared)
}

// olderRegistry refuses a registry that comes from a backup: what it does not know
// it would let be destroyed.
func olderRegistry(format string, args ...any) error {
	return dot.Precondition("the registry is older than the pool: "+format+`. If etcd was restored from a backup, empty it and start with --recover, or recover: "true" in the ConfigMap configuration`, args...)
}
