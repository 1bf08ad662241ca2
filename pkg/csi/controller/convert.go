package controller

import (
	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/wrapperspb"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
)

func (s *service) volume(v *dotmeshv1.Volume) *csi.Volume {
	out := &csi.Volume{
		VolumeId:      v.GetId(),
		CapacityBytes: v.GetSizeBytes(),
		VolumeContext: map[string]string{
			contextDot:    v.GetDot(),
			contextBranch: v.GetBranch(),
			contextSubdot: v.GetSubdot(),
		},
		AccessibleTopology: s.everywhere(),
	}
	switch {
	case v.GetSourceSnapshot() != "":
		out.ContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: v.GetSourceSnapshot()},
		}}
	case v.GetSourceVolume() != "":
		out.ContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
			Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: v.GetSourceVolume()},
		}}
	}
	return out
}

func capacity(c *dotmeshv1.GetCapacityResponse) *csi.GetCapacityResponse {
	out := &csi.GetCapacityResponse{AvailableCapacity: c.GetAvailableBytes()}
	if c.GetMaximumVolumeBytes() > 0 {
		out.MaximumVolumeSize = wrapperspb.Int64(c.GetMaximumVolumeBytes())
	}
	return out
}

func snapshot(s *dotmeshv1.Snapshot) *csi.Snapshot {
	return &csi.Snapshot{
		SnapshotId:     s.GetHandle(),
		SourceVolumeId: s.GetSourceVolume(),
		SizeBytes:      s.GetSizeBytes(),
		CreationTime:   s.GetCreated(),
		ReadyToUse:     s.GetReady(),
	}
}
