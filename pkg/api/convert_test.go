package api_test

import (
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestVolumeToProto(t *testing.T) {
	commit := dot.NewCommitID()
	v := dot.Volume{
		ID: dot.VolumeIDOf("x"), CSIName: "x", Subdot: dot.RootSubdot, SizeBytes: 5, ReadOnly: true,
		Source:       &dot.SnapshotHandle{Dot: dot.NewID(), Commit: commit},
		Publications: map[string]dot.Publication{"b": {}, "a": {}},
	}
	name, err := dot.ParseName("x")
	if err != nil {
		t.Fatal(err)
	}
	d := dot.Dot{FullName: dot.FullName{Namespace: dot.DefaultNamespace, Name: name}}
	got := api.VolumeToProto(v, d, dot.Branch{Name: dot.MasterBranch, Master: dot.PoolIDOf(7)}, "n")
	if got.Id != v.ID.String() || got.Dot != "admin/x" || got.Subdot != "__root__" || got.Pool != "7" || got.Node != "n" || !got.ReadOnly || got.SizeBytes != 5 {
		t.Errorf("got %v", got)
	}
	if len(got.PublishedNodes) != 2 || got.PublishedNodes[0] != "a" {
		t.Errorf("nodes are not sorted: %v", got.PublishedNodes)
	}
	if got.SourceSnapshot != v.Source.String() || got.SourceVolume != "" {
		t.Errorf("got source %q and %q", got.SourceSnapshot, got.SourceVolume)
	}
}

func TestCommitToProto(t *testing.T) {
	c := dot.Commit{ID: dot.NewCommitID(), Dot: dot.NewID(), Message: "m", Time: time.Unix(5, 0), Metadata: dot.Metadata{"k": "v"}}
	got := api.CommitToProto(c, dot.MasterBranch)
	h, err := dot.ParseSnapshotHandle(got.Handle)
	if err != nil || h.Commit != c.ID || h.Dot != c.Dot {
		t.Errorf("the handle %q does not name the commit: %v", got.Handle, err)
	}
	if got.Time.AsTime().Unix() != 5 || got.Metadata["k"] != "v" || got.Parent != "" {
		t.Errorf("got %v", got)
	}
	if api.SnapshotToProto(dot.Commit{}).Created != nil {
		t.Error("no time must stay none")
	}
}
