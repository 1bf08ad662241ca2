package engine

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// Config says which part of which pool an engine keeps.
type Config struct {
	ZFS *zfs.Client
	// Root is the server's root dataset: a whole pool or a dataset in one.
	Root zfs.Dataset
	// Identity is what Identify says of Root.
	Identity Identity
	// ClusterID is the cluster that the root must belong to. It is written on a
	// root that has none.
	ClusterID string
	// RunDir is a directory that a reboot empties; default /run/dotmesh. The
	// engine keeps what it must remember for as long as the pool stays imported
	// in <RunDir>/<pool id>.
	RunDir string
	// Hook is called at the points that Points lists.
	Hook crash.Hook
}

const (
	defaultRunDir = "/run/dotmesh"
	parentName    = "dotmesh" // below the root: the parent of all branches
	oldParentName = "dmfs"    // what the system before this one called it
)

// Engine keeps the dots of one pool. It is safe for use by several goroutines;
// calls for one branch wait for each other where they must.
type Engine struct {
	zfs          *zfs.Client
	root, parent zfs.Dataset
	cluster      string
	hook         crash.Hook
	pool         dot.PoolID
	index        *index
	branches     locks[dot.BranchID]
	// structure is held by whatever destroys or promotes.
	structure locks[struct{}]
	gather    gatherer
	mounted   mountedSince
	quotas    quotaMemo
	probe     probe
	// claimed: the root says which cluster it belongs to; whole: Parent has its
	// properties. As Identify found it, and SetUpRoot left it.
	claimed, whole bool
	// madeFenced: SetUpRoot made Parent, with the fence on.
	madeFenced  bool
	incarnation atomic.Uint64 // that the root says
}

// Identity is what a root says of itself.
type Identity struct {
	Pool    dot.PoolID // the root dataset's GUID
	Cluster string     // whose it is; "": nobody's yet
	// Incarnation is the highest of a registry that the root has seen, 0 for none.
	Incarnation uint64
	// thisImport changes with each import of the pool.
	thisImport               zfs.GUID
	oldSystem, parentIsWhole bool
}

// Identify reads whose a root is, so that it can be locked before anything else
// is read.
func Identify(ctx context.Context, client *zfs.Client, root zfs.Dataset) (Identity, error) {
	parent, err := root.Child(parentName)
	if err != nil {
		return Identity{}, dot.Invalid("root %q: %w", root, err)
	}
	var imported zfs.GUID
	var importErr error
	var beside sync.WaitGroup
	beside.Go(func() { imported, importErr = client.LoadGUID(ctx, root.Pool()) })
	items, err := client.List(ctx, root, zfs.ListOptions{Kinds: []zfs.Kind{zfs.KindFilesystem}, Depth: 1})
	beside.Wait()
	if err != nil {
		return Identity{}, explain(err, "reading whose %s is", root)
	}
	if importErr != nil {
		return Identity{}, explain(importErr, "identifying the import of pool %s", root.Pool())
	}
	id := readListing(items, root, parent).identity()
	id.thisImport = imported
	return id, nil
}

// Open changes nothing on the pool and does not list it: Load has to follow,
// before anything but SetUpRoot, Fence, Capacity and Inventory is used. It
// refuses, with CodePrecondition, a root of another cluster and an old system's
// <pool>/dmfs.
func Open(cfg Config) (*Engine, error) {
	if cfg.ClusterID == "" {
		return nil, dot.Invalid("the cluster's id is missing")
	}
	parent, err := cfg.Root.Child(parentName)
	if err != nil {
		return nil, dot.Invalid("root %q: %w", cfg.Root, err)
	}
	if cfg.RunDir == "" {
		cfg.RunDir = defaultRunDir
	}
	id := cfg.Identity
	if err := id.check(cfg.Root, cfg.ClusterID); err != nil {
		return nil, err
	}
	e := &Engine{
		zfs: cfg.ZFS, root: cfg.Root, parent: parent, cluster: cfg.ClusterID, hook: cfg.Hook, index: &index{},
		pool: id.Pool, claimed: id.Cluster != "", whole: id.parentIsWhole,
	}
	e.incarnation.Store(id.Incarnation)
	e.gather.take = e.takeSnapshots
	e.mounted.dir = filepath.Join(cfg.RunDir, e.pool.String(), "mounted")
	return e, e.mounted.load(id.thisImport)
}

// Load lists the pool and remembers where everything lies. Whoever else may
// change the pool must have stopped: the caller holds the pool's lease.
func (e *Engine) Load(ctx context.Context) (Inventory, error) {
	inv, err := e.Inventory(ctx)
	if err == nil {
		e.index.load(inv)
	}
	return inv, err
}

func (l listing) identity() Identity {
	return Identity{Pool: l.Pool, Cluster: l.Cluster, Incarnation: l.Incarnation, oldSystem: l.oldSystem, parentIsWhole: l.parentIsWhole}
}

// check refuses a root that is not this cluster's.
func (id Identity) check(root zfs.Dataset, cluster string) error {
	if id.oldSystem {
		return dot.Precondition("%s/%s is the data of an earlier version of dotmesh (%w): it is not converted and nothing was changed; give this server another pool, or another dataset as its root", root, oldParentName, ErrAnothers)
	}
	if id.Cluster != "" && id.Cluster != cluster {
		return dot.Precondition("%s belongs to dotmesh cluster %s and this is cluster %s (%w): nothing was changed; give this server another pool, or recover that cluster with --recover and an empty registry", root, id.Cluster, cluster, ErrAnothers)
	}
	return nil
}

// PoolID is the GUID of the root dataset.
func (e *Engine) PoolID() dot.PoolID { return e.pool }

// Parent is <root>/dotmesh, whose readonly property is the fence.
func (e *Engine) Parent() zfs.Dataset { return e.parent }

// SetUpRoot writes the cluster on the root and makes <root>/dotmesh, with the
// fence on, where Identify found them missing. On a root that has both it starts no
// process.
func (e *Engine) SetUpRoot(ctx context.Context) error {
	unlock, err := e.structure.lock(ctx, struct{}{})
	if err != nil {
		return err
	}
	defer unlock()
	if e.claimed && e.whole {
		return nil
	}
	if !e.claimed {
		if err := e.zfs.SetProperties(ctx, e.root, zfs.Props{ClusterProperty: e.cluster}); err != nil {
			return explain(err, "writing the cluster on %s", e.root)
		}
		e.claimed = true
	}
	if e.whole {
		return nil
	}
	props := zfs.Props{
		zfs.PropMountpoint: "legacy", zfs.PropAtime: off, zfs.PropDevices: off,
		zfs.PropXattr: "sa", zfs.PropACLType: "posixacl", zfs.PropReadonly: on, zfs.PropCanmount: "noauto",
	}
	err = e.zfs.CreateFilesystem(ctx, e.parent, props)
	if errors.Is(err, zfs.ErrExists) {
		// A power cut can part the making of a dataset from its properties.
		err = e.zfs.SetProperties(ctx, e.parent, props)
	}
	if err != nil {
		return explain(err, "making %s", e.parent)
	}
	e.whole, e.madeFenced = true, true
	klog.FromContext(ctx).Info("set up root", "dataset", e.root.String(), "pool", e.pool.String(), "cluster", e.cluster)
	return nil
}

// RaiseIncarnation writes on the root which incarnation of a registry it has seen,
// if that is higher than what it says: from then on an older registry is known as
// such. It is called before the fence is lifted.
func (e *Engine) RaiseIncarnation(ctx context.Context, seen uint64) error {
	if e.incarnation.Load() >= seen {
		return nil
	}
	err := e.zfs.SetProperties(ctx, e.root, zfs.Props{propIncarnation: strconv.FormatUint(seen, 10)})
	if err != nil {
		return explain(err, "writing the registry's incarnation on %s", e.root)
	}
	e.incarnation.Store(seen)
	return nil
}
