package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// Inventory is what the pool says of itself.
type Inventory struct {
	Pool    dot.PoolID
	Cluster string
	// Incarnation is the highest of a registry that the root has seen, 0 for a
	// root that says of none. A branch can have seen a lower one.
	Incarnation uint64
	// Fenced: Parent is readonly.
	Fenced   bool
	Branches []FoundBranch // by createtxg
	Commits  []FoundCommit // by createtxg; sync points are not listed
	// Receiving are datasets of which no snapshot has arrived whole.
	Receiving []Receiving
	// Unknown are datasets and snapshots below Parent that say nothing of ours,
	// or something that cannot be read.
	Unknown []Unknown
}

// FoundBranch is a branch with what its dataset says of its dot and claims.
type FoundBranch struct {
	Dot     dot.Dot
	Branch  dot.Branch
	Volumes []dot.Volume
	Dataset zfs.Dataset
	GUID    uint64
	// ReadOnly: the head's own readonly property is on; Inherits: it has none
	// of its own, or one that a mount's option hides.
	ReadOnly, Inherits bool
	// OriginGUID is the GUID of the snapshot that the dataset is a clone of, 0
	// for none. After a promote it is not where the branch began.
	OriginGUID uint64
	// ResumeToken of a broken receive into this branch, "" for none.
	ResumeToken string
}

// FoundCommit is a commit with what its snapshot says.
type FoundCommit struct {
	Commit    dot.Commit
	Snapshot  zfs.Snapshot
	CreateTXG uint64
	// Deleted: the commit was destroyed while clones needed its snapshot.
	Deleted bool
}

// Receiving is a dataset that a first stream has not filled yet.
type Receiving struct {
	Dataset zfs.Dataset
	Token   string
}

// Unknown is something that is left as it is.
type Unknown struct {
	Name   string // dataset or dataset@snapshot
	GUID   uint64
	Reason string
}

// Inventory lists the pool, in two processes at once.
func (e *Engine) Inventory(ctx context.Context) (Inventory, error) {
	found, err := e.list(ctx)
	return found.Inventory, err
}

// listing is an inventory with what only the set-up asks for.
type listing struct {
	Inventory
	oldSystem     bool
	parentIsWhole bool
}

// list reads datasets with all their properties, because the names of the user
// properties that hold claims are unknown, and snapshots with those that a
// commit has: of a snapshot, all properties take five times as long.
func (e *Engine) list(ctx context.Context) (listing, error) {
	options := [...]zfs.ListOptions{
		{Kinds: []zfs.Kind{zfs.KindFilesystem, zfs.KindVolume}, Depth: zfs.All},
		{Kinds: []zfs.Kind{zfs.KindSnapshot}, Depth: zfs.All, Properties: commitProperties()},
	}
	var items [len(options)][]zfs.Item
	var errs [len(options)]error
	var both sync.WaitGroup
	for i, opt := range options {
		both.Go(func() { items[i], errs[i] = e.zfs.List(ctx, e.root, opt) })
	}
	both.Wait()
	if err := cmp.Or(errs[0], errs[1]); err != nil {
		return listing{}, explain(err, "listing %s", e.root)
	}
	return readListing(slices.Concat(items[0], items[1]), e.root, e.parent), nil
}

// readListing sorts items; those of each kind are in the order of createtxg.
func readListing(items []zfs.Item, root, parent zfs.Dataset) listing {
	var l listing
	guids := map[string]uint64{}
	snapshots := map[zfs.Dataset]int{}
	for _, item := range items {
		guids[item.Target().String()] = uint64(item.GUID)
		if item.Kind == zfs.KindSnapshot {
			snapshots[item.Dataset]++
		}
	}
	for _, item := range items {
		above, nested := item.Dataset.Parent()
		switch {
		case item.Kind == zfs.KindSnapshot && parent.Contains(item.Dataset) && item.Dataset != parent:
			l.addSnapshot(item)
		case item.Kind == zfs.KindSnapshot:
		case item.Dataset == root:
			l.Pool = dot.PoolIDOf(uint64(item.GUID))
			l.Cluster, _ = item.Values.Local(ClusterProperty)
			d := &decoder{values: item.Values}
			if l.Incarnation = decodeAs(d, propIncarnation, parseUint); d.err != nil {
				l.unknown(item, d.err.Error())
			}
		case item.Dataset == parent:
			readonly, set := item.Values.Local(zfs.PropReadonly)
			_, legacy := item.Values.Local(zfs.PropMountpoint)
			l.Fenced, l.parentIsWhole = readonly == on, set && legacy
		case nested && above == root && item.Dataset.Base() == oldParentName:
			l.oldSystem = true
		case nested && above == parent:
			l.addDataset(item, guids, snapshots[item.Dataset])
		case parent.Contains(item.Dataset):
			l.unknown(item, "it lies below a branch")
		}
	}
	return l
}

func (l *listing) unknown(item zfs.Item, reason string) {
	l.Unknown = append(l.Unknown, Unknown{Name: item.Target().String(), GUID: uint64(item.GUID), Reason: reason})
}

// addDataset: a dataset that holds no snapshot and has a resume token is a
// stream of which nothing is whole, whatever its properties say.
func (l *listing) addDataset(item zfs.Item, guids map[string]uint64, snapshots int) {
	token := item.Values[zfs.PropReceiveToken].Value
	if token == unsetInListing {
		token = ""
	}
	switch {
	case item.Kind != zfs.KindFilesystem:
		l.unknown(item, "it is a "+string(item.Kind)+", not a filesystem")
		return
	case token != "" && snapshots == 0:
		l.Receiving = append(l.Receiving, Receiving{Dataset: item.Dataset, Token: token})
		return
	case !isOurs(item.Values):
		l.unknown(item, "it has no property of dotmesh")
		return
	}
	d, b, volumes, err := decodeBranch(item.Values)
	if err == nil && b.ID.String() != item.Dataset.Base() {
		err = dot.Invalid("it says that it is branch %s", b.ID)
	}
	if err != nil {
		l.unknown(item, err.Error())
		return
	}
	found := FoundBranch{
		Dot: d, Branch: b, Volumes: volumes, Dataset: item.Dataset, GUID: uint64(item.GUID),
		OriginGUID: guids[item.Values[zfs.PropOrigin].Value], ResumeToken: token,
	}
	readonly, local := item.Values.Local(zfs.PropReadonly)
	found.ReadOnly, found.Inherits = readonly == on, !local
	l.Branches = append(l.Branches, found)
}

func (l *listing) addSnapshot(item zfs.Item) {
	if strings.HasPrefix(item.Name, syncPrefix) {
		return
	}
	if !isOurs(item.Values) {
		l.unknown(item, "it has no property of dotmesh")
		return
	}
	commit, deleted, err := decodeCommit(item.Name, item.GUID, item.Values)
	if err != nil {
		l.unknown(item, err.Error())
		return
	}
	snapshot, err := item.Dataset.Snapshot(item.Name)
	if err != nil {
		l.unknown(item, err.Error())
		return
	}
	l.Commits = append(l.Commits, FoundCommit{Commit: commit, Snapshot: snapshot, CreateTXG: item.CreateTXG, Deleted: deleted})
}
