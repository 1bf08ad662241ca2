package controller

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// ControllerGetCapabilities lists what the controller can do.
func (s *service) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	res := &csi.ControllerGetCapabilitiesResponse{}
	for _, t := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
		csi.ControllerServiceCapability_RPC_LIST_VOLUMES,
		csi.ControllerServiceCapability_RPC_LIST_VOLUMES_PUBLISHED_NODES,
		csi.ControllerServiceCapability_RPC_GET_CAPACITY,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
		csi.ControllerServiceCapability_RPC_GET_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_GET_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
		csi.ControllerServiceCapability_RPC_PUBLISH_READONLY,
	} {
		res.Capabilities = append(res.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: t}},
		})
	}
	return res, nil
}

// wanted sums up the capabilities that a new volume shall have: read-only on
// many nodes, or writable on one.
func wanted(caps []*csi.VolumeCapability) (readOnly bool, err error) {
	if len(caps) == 0 {
		return false, dot.Invalid("the volume capabilities are missing")
	}
	many, one := 0, 0
	for _, c := range caps {
		mode, err := driver.ParseCapability(c)
		if err != nil {
			return false, err
		}
		if mode.ManyNodes {
			many++
		} else {
			one++
		}
	}
	if many > 0 && one > 0 {
		return false, dot.Invalid("ReadOnlyMany cannot be asked for together with another access mode, because such a volume is never writable: ask for ReadOnlyMany alone, or leave it out")
	}
	return many > 0, nil
}
