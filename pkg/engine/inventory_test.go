package engine

import (
	"maps"
	"strings"
	"testing"

	"k8s.io/mount-utils"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// pool is a listing that a test writes.
type pool struct {
	items []zfs.Item
	txg   uint64
}

func (p *pool) add(name string, values zfs.Values) zfs.Item {
	p.txg++
	item := zfs.Item{Kind: zfs.KindFilesystem, GUID: zfs.GUID(1000 + p.txg), CreateTXG: p.txg, Values: zfs.Values{}}
	maps.Copy(item.Values, values)
	path, snapshot, found := strings.Cut(name, "@")
	item.Dataset = must(zfs.ParseDataset(path))
	if found {
		item.Kind, item.Name = zfs.KindSnapshot, snapshot
	}
	p.items = append(p.items, item)
	return item
}

func none(value string) zfs.Value { return zfs.Value{Value: value, Source: zfs.SourceNone} }

func TestReadListing(t *testing.T) {
	root := must(zfs.ParseDataset("tank/store"))
	parent := must(root.Child(parentName))
	d := sampleDot()
	old, restored := sampleBranch(d), sampleBranch(d)
	var p pool
	p.add("tank/store", local(zfs.Props{ClusterProperty: "c1", propIncarnation: "3"}))
	p.add("tank/store/dotmesh", local(zfs.Props{zfs.PropReadonly: on, zfs.PropMountpoint: "legacy"}))
	under := parent.String() + "/"
	oldValues := local(must(BranchSpec{Dot: d, Branch: old}.props()))
	oldValues[zfs.PropOrigin] = none(under + restored.ID.String() + "@c1")
	p.add(under+old.ID.String(), oldValues)
	p.add(under+restored.ID.String(), local(must(BranchSpec{Dot: d, Branch: restored}.props())))
	commit := sampleCommit(d, old) // promoted: made on old, lies under restored
	values := local(must(encodeCommit(commit)))
	values[propDeleted] = zfs.Value{Value: on, Source: zfs.SourceLocal}
	snapshot := p.add(under+restored.ID.String()+"@c1", values)
	p.add(under+restored.ID.String()+"@sync-x-1.1-1", nil)
	p.add(under+restored.ID.String()+"@byhand", nil)

	half := sampleBranch(d) // its stream's properties are there, its snapshot is not
	values = local(must(BranchSpec{Dot: d, Branch: half}.props()))
	values[zfs.PropReceiveToken] = none("1-abc")
	p.add(under+half.ID.String(), values)
	p.add(under+"stranger", nil)
	p.add(under+old.ID.String()+"/nested", nil)
	p.add(under+dot.NewBranchID().String(), local(must(BranchSpec{Dot: d, Branch: old}.props()))) // renamed by hand
	broken := local(must(BranchSpec{Dot: d, Branch: sampleBranch(d)}.props()))
	broken[propEpoch] = zfs.Value{Value: "x", Source: zfs.SourceLocal}
	p.add(under+dot.NewBranchID().String(), broken)

	l := readListing(p.items, root, parent)
	if l.Cluster != "c1" || l.Incarnation != 3 || l.identity().Incarnation != 3 || !l.Fenced || !l.parentIsWhole || l.oldSystem || l.Pool != dot.PoolIDOf(1001) {
		t.Errorf("got %+v", l)
	}
	if got := len(l.Branches); got != 2 {
		t.Fatalf("got %d branches, want 2: %+v", got, l.Branches)
	}
	if got, want := l.Branches[0].OriginGUID, uint64(snapshot.GUID); got != want {
		t.Errorf("origin: got %d, want %d", got, want)
	}
	if got := l.Branches[0]; !got.ReadOnly || got.Inherits {
		t.Errorf("got %+v, want readonly of its own", got)
	}
	if len(l.Commits) != 1 {
		t.Fatalf("got commits %+v, want 1", l.Commits)
	}
	c := l.Commits[0]
	if c.Commit.Branch != old.ID || c.Snapshot.Dataset().Base() != restored.ID.String() || !c.Deleted {
		t.Errorf("got %+v", c)
	}
	if len(l.Receiving) != 1 || l.Receiving[0].Token != "1-abc" {
		t.Errorf("receiving: got %+v", l.Receiving)
	}
	if got := len(l.Unknown); got != 5 {
		t.Errorf("got %d unknown, want 5: %+v", got, l.Unknown)
	}

	x := &index{}
	x.load(l.Inventory)
	ref := CommitRef{Branch: old.ID, Commit: must(dot.ParseCommitID("c1"))}
	if _, err := x.find(ref); err != nil {
		t.Error(err)
	}
	ref.GUID = 5
	if _, err := x.find(ref); dot.CodeOf(err) != dot.CodeNotFound {
		t.Errorf("another GUID: got %v", err)
	}
}

func TestForeignRootsAreRefused(t *testing.T) {
	root := must(zfs.ParseDataset("tank"))
	parent := must(root.Child(parentName))
	for name, fill := range map[string]func(*pool){
		"another cluster": func(p *pool) { p.add("tank", local(zfs.Props{ClusterProperty: "theirs"})) },
		"old system":      func(p *pool) { p.add("tank", nil); p.add("tank/dmfs", nil) },
	} {
		var p pool
		fill(&p)
		if err := readListing(p.items, root, parent).identity().check(root, "ours"); dot.CodeOf(err) != dot.CodePrecondition {
			t.Errorf("%s: got %v", name, err)
		}
	}
	var p pool
	p.add("tank", nil)
	p.add("tank/other/dmfs", nil)
	if err := readListing(p.items, root, parent).identity().check(root, "ours"); err != nil {
		t.Errorf("a fresh pool: %v", err)
	}
}

func TestIncarnationThatCannotBeReadIsToldOf(t *testing.T) {
	root := must(zfs.ParseDataset("tank"))
	var p pool
	p.add("tank", local(zfs.Props{ClusterProperty: "c1", propIncarnation: "many"}))
	l := readListing(p.items, root, must(root.Child(parentName)))
	if l.Incarnation != 0 || len(l.Unknown) != 1 || !strings.Contains(l.Unknown[0].Reason, "io.dotmesh:incarnation") {
		t.Errorf("got %+v", l)
	}
}

func TestMountsBelow(t *testing.T) {
	dataset := must(zfs.ParseDataset("tank/dotmesh/b"))
	of := func(root, at string) mount.MountInfo {
		return mount.MountInfo{FsType: "zfs", Source: dataset.String(), Root: root, MountPoint: at}
	}
	other := func(at string) mount.MountInfo {
		return mount.MountInfo{FsType: "tmpfs", Source: "x", Root: "/", MountPoint: at}
	}
	for name, c := range map[string]struct {
		mounts []mount.MountInfo
		want   int
	}{
		"staged only":             {[]mount.MountInfo{of("/", "/stage")}, 0},
		"the subdot is published": {[]mount.MountInfo{of("/", "/stage"), of("/logs", "/pod")}, 1},
		"a directory in it":       {[]mount.MountInfo{of("/logs/a", "/pod")}, 1},
		"another subdot":          {[]mount.MountInfo{of("/logs2", "/pod"), of("/other", "/pod2")}, 0},
		"mounted on it":           {[]mount.MountInfo{of("/", "/stage"), other("/stage/logs")}, 1},
		"mounted in it":           {[]mount.MountInfo{of("/", "/stage"), other("/stage/logs/x/y")}, 1},
		"mounted beside it":       {[]mount.MountInfo{of("/", "/stage"), other("/stage/logs2"), other("/logs")}, 0},
		"another dataset":         {[]mount.MountInfo{{FsType: "zfs", Source: "tank/dotmesh/c", Root: "/logs", MountPoint: "/pod"}}, 0},
	} {
		if got := len(mountsBelow(c.mounts, dataset, "/logs")); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}
