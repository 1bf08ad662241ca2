package api

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// DotToProto converts the dot itself; branches and volumes are the caller's to
// add.
func DotToProto(d dot.Dot) *dotmeshv1.Dot {
	return &dotmeshv1.Dot{
		Id:          d.ID.String(),
		Namespace:   d.FullName.Namespace.String(),
		Name:        d.FullName.Name.String(),
		Owner:       d.Owner,
		ShareAll:    d.Shares.All,
		SharedWith:  slices.Clone(d.Shares.Namespaces),
		State:       string(d.State),
		Released:    d.Released,
		Created:     timestamp(d.Created),
		MadeByPvc:   d.MadeByPVC,
		Compression: d.Settings.Compression.String(),
		RecordSize:  uint32(d.Settings.RecordSize),
	}
}

// BranchToProto converts a branch; node is the one that its master's server runs
// on. Counts and sizes are the caller's to add.
func BranchToProto(b dot.Branch, node string) *dotmeshv1.Branch {
	out := &dotmeshv1.Branch{
		Id:         b.ID.String(),
		Name:       b.Name.String(),
		MasterPool: b.Master.String(),
		MasterNode: node,
		Epoch:      b.Epoch.String(),
		ReadOnly:   b.ReadOnly,
		Hidden:     b.Hidden,
	}
	if b.Origin != nil {
		out.OriginBranchId = b.Origin.Branch.String()
		out.OriginCommit = b.Origin.Commit.String()
	}
	return out
}

// CommitToProto converts a commit; branch is the name of its branch, which the
// commit itself knows by id only.
func CommitToProto(c dot.Commit, branch dot.BranchName) *dotmeshv1.Commit {
	return &dotmeshv1.Commit{
		Id:       c.ID.String(),
		DotId:    c.Dot.String(),
		Branch:   branch.String(),
		BranchId: c.Branch.String(),
		Sequence: c.Sequence,
		Author:   c.Author,
		Message:  c.Message,
		Time:     timestamp(c.Time),
		Metadata: c.Metadata,
		Parent:   c.Parent.String(),
		Tags:     slices.Clone(c.Tags),
		Handle:   dot.SnapshotHandle{Dot: c.Dot, Commit: c.ID}.String(),
	}
}

// VolumeToProto converts a volume with the dot and branch that it claims; node is
// the one that the branch's master runs on.
func VolumeToProto(v dot.Volume, d dot.Dot, b dot.Branch, node string) *dotmeshv1.Volume {
	out := &dotmeshv1.Volume{
		Id:                  v.ID.String(),
		DotId:               v.Dot.String(),
		Dot:                 d.FullName.String(),
		Branch:              b.Name.String(),
		BranchId:            v.Branch.String(),
		Subdot:              v.Subdot.String(),
		SizeBytes:           v.SizeBytes,
		KubernetesNamespace: v.KubernetesNamespace,
		PvcName:             v.PVCName,
		ReadOnly:            v.ReadOnly,
		SourceVolume:        v.SourceVolume.String(),
		Pool:                b.Master.String(),
		Node:                node,
		CsiName:             v.CSIName,
	}
	if v.Source != nil && v.SourceVolume.IsZero() {
		out.SourceSnapshot = v.Source.String()
	}
	for n := range v.Publications {
		out.PublishedNodes = append(out.PublishedNodes, n)
	}
	slices.Sort(out.PublishedNodes)
	return out
}

// SnapshotToProto converts a commit as CSI sees it.
func SnapshotToProto(c dot.Commit) *dotmeshv1.Snapshot {
	return &dotmeshv1.Snapshot{
		Handle:       dot.SnapshotHandle{Dot: c.Dot, Commit: c.ID}.String(),
		SourceVolume: c.Volume.String(),
		SizeBytes:    c.SizeBytes,
		Created:      timestamp(c.Time),
		Ready:        true,
	}
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
