package engine

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

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
	// properties. As Open found it, and SetUpRoot left it.
	claimed, whole bool
}

// Open lists what lies below the root and changes nothing. It refuses, with
// CodePrecondition, a root of another cluster and an old system's <pool>/dmfs.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
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
	e := &Engine{zfs: cfg.ZFS, root: cfg.Root, parent: parent, cluster: cfg.ClusterID, hook: cfg.Hook}
	var thisImport zfs.GUID
	var importErr error
	var beside sync.WaitGroup
	beside.Go(func() { thisImport, importErr = cfg.ZFS.LoadGUID(ctx, cfg.Root.Pool()) })
	found, err := e.list(ctx)
	beside.Wait()
	if err != nil {
		return nil, err
	}
	if err := found.check(cfg.Root, cfg.ClusterID); err != nil {
		return nil, err
	}
	e.pool, e.claimed, e.whole = found.Pool, found.Cluster != "", found.parentIsWhole
	e.index = newIndex(found.Inventory)
	e.gather.take = e.takeSnapshots
	e.mounted.dir = filepath.Join(cfg.RunDir, e.pool.String(), "mounted")
	if importErr != nil {
		return nil, explain(importErr, "identifying the import of pool %s", cfg.Root.Pool())
	}
	return e, e.mounted.load(thisImport)
}

// check refuses a root that is not this cluster's.
func (f listing) check(root zfs.Dataset, cluster string) error {
	if f.oldSystem {
		return dot.Precondition("%s/%s is the data of an earlier version of dotmesh: it is not converted and nothing was changed; give this server another pool, or another dataset as its root", root, oldParentName)
	}
	if f.Cluster != "" && f.Cluster != cluster {
		return dot.Precondition("%s belongs to dotmesh cluster %s and this is cluster %s: nothing was changed; give this server another pool, or recover that cluster with --recover and an empty registry", root, f.Cluster, cluster)
	}
	return nil
}

// ClusterOf reads which cluster a root belongs to, "" for none.
func ClusterOf(ctx context.Context, client *zfs.Client, root zfs.Dataset) (string, error) {
	values, err := client.Get(ctx, root, ClusterProperty)
	if err != nil {
		return "", explain(err, "reading whose %s is", root)
	}
	cluster, _ := values.Local(ClusterProperty)
	return cluster, nil
}

// PoolID is the GUID of the root dataset.
func (e *Engine) PoolID() dot.PoolID { return e.pool }

// Parent is <root>/dotmesh, whose readonly property is the fence.
func (e *Engine) Parent() zfs.Dataset { return e.parent }

// SetUpRoot writes the cluster on the root and makes <root>/dotmesh, with the
// fence on, where Open found them missing. On a root that has both it starts no
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
	e.index.change(func(*index) {})
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
	e.whole = true
	klog.FromContext(ctx).Info("set up root", "dataset", e.root.String(), "pool", e.pool.String(), "cluster", e.cluster)
	return nil
}
