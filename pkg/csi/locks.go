package csi

import (
	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// lockKey names what only one call at a time may do, "" when any number may. A
// volume's creation and all that follows share a key, because the id is derived
// from the name.
func lockKey(req any) string {
	switch r := req.(type) {
	case *csi.CreateVolumeRequest:
		return "volume " + dot.VolumeIDOf(r.GetName()).String()
	case *csi.CreateSnapshotRequest:
		return "snapshot " + r.GetName()
	case *csi.DeleteSnapshotRequest:
		return "snapshot " + r.GetSnapshotId()
	case *csi.DeleteVolumeRequest, *csi.ControllerPublishVolumeRequest, *csi.ControllerUnpublishVolumeRequest,
		*csi.ControllerExpandVolumeRequest,
		*csi.NodeStageVolumeRequest, *csi.NodeUnstageVolumeRequest,
		*csi.NodePublishVolumeRequest, *csi.NodeUnpublishVolumeRequest, *csi.NodeExpandVolumeRequest:
		return "volume " + req.(interface{ GetVolumeId() string }).GetVolumeId()
	case *csi.NodeGetVolumeStatsRequest:
		// It changes nothing, but on a pool without I/O each call keeps a thread,
		// and kubelet asks for every volume every minute.
		return "statistics of volume " + r.GetVolumeId()
	}
	return ""
}

// changes tells whether a call is more than a question.
func changes(req any) bool {
	_, question := req.(*csi.NodeGetVolumeStatsRequest)
	return !question && lockKey(req) != ""
}
