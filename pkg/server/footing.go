package server

import (
	"context"

	"k8s.io/klog/v2"

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
	// recover: the registry has to be filled from the pool first. mark is the
	// revision of the mark that an interrupted recovery left, 0 for none.
	recover bool
	mark    int64
}

// findFooting refuses a registry and a root that do not go together, and one that
// a recovery has left incomplete. A registry that was never used, beside a root
// that is nobody's, gets a new identity. rebuild is --recover, which may stay in a
// Deployment: beside a registry of the pool's own cluster that holds something there
// is nothing to recover, and the start is as any other.
func findFooting(ctx context.Context, st *store.Store, root engine.Identity, rebuild bool) (footing, error) {
	mark, marked, err := found(st.GetRecovery(ctx))
	if err != nil {
		return footing{}, err
	}
	rec, there, err := found(st.GetCluster(ctx))
	if err != nil {
		return footing{}, err
	}
	f := footing{id: rec.Value.ID, registry: rec, mark: mark.Revision}
	owner := root.Cluster
	switch {
	case marked && (!rebuild || mark.Value.Pool != root.Pool):
		return footing{}, dot.Precondition("the registry is incomplete: rebuilding it from the pool %s of node %q was interrupted; run that pool's server once more with --recover", mark.Value.Pool, mark.Value.Node)
	case marked:
		f.id, f.recover = mark.Value.Cluster, true
		return f, nil
	case rebuild && there:
		empty, err := st.Empty(ctx)
		switch {
		case err != nil:
			return footing{}, err
		case !empty && owner == f.id:
			klog.FromContext(ctx).Info("nothing to recover: the registry is this cluster's and in use", "cluster", f.id)
			return f, notOlder(f.registry.Value, root.Incarnation)
		case !empty:
			return footing{}, dot.Precondition("--recover fills an empty registry, and this one (cluster %s) is in use: start without --recover", f.id)
		}
	}
	switch {
	case rebuild && owner != "":
		f.id, f.recover = owner, true
		return f, nil
	case !there && owner != "":
		return footing{}, dot.Precondition("the registry is empty, but the pool belongs to cluster %s: if that cluster's registry is lost, start once with --recover to rebuild it from the pool; otherwise check --etcd-endpoints", owner)
	case !there:
		if f.registry, err = st.EnsureCluster(ctx); err != nil {
			return footing{}, err
		}
		f.id = f.registry.Value.ID
	case owner == f.id:
		return f, notOlder(f.registry.Value, root.Incarnation)
	}
	return f, nil
}

// notOlder refuses a registry that is behind what a pool has seen.
func notOlder(c store.Cluster, seen uint64) error {
	if seen <= c.Incarnation {
		return nil
	}
	return olderRegistry("the pool has seen incarnation %d, and the registry is at %d", seen, c.Incarnation)
}

// olderRegistry refuses a registry that comes from a backup: what it does not know
// it would let be destroyed.
func olderRegistry(format string, args ...any) error {
	return dot.Precondition("the registry is older than the pool: "+format+". If etcd was restored from a backup, empty it and start with --recover", args...)
}
