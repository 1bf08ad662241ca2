package controller

import (
	"context"

	"connectrpc.com/connect"
	"github.com/container-storage-interface/spec/lib/go/csi"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// ControllerPublishVolume allows a node to mount the volume.
func (s *service) ControllerPublishVolume(ctx context.Context, r *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, dot.Invalid("the volume id is missing")
	}
	if r.GetNodeId() == "" {
		return nil, dot.Invalid("the node id is missing")
	}
	mode, err := driver.ParseCapability(r.GetVolumeCapability())
	if err != nil {
		return nil, err
	}
	if err := driver.CheckVolume(r.GetVolumeId()); err != nil {
		return nil, err
	}
	res, err := s.volumes.PublishVolume(ctx, connect.NewRequest(&dotmeshv1.PublishVolumeRequest{
		Volume:   r.GetVolumeId(),
		Node:     r.GetNodeId(),
		ReadOnly: r.GetReadonly() || mode.ReadOnly,
	}))
	if err != nil {
		return nil, err
	}
	return &csi.ControllerPublishVolumeResponse{
		PublishContext: map[string]string{driver.PublishContextPool: res.Msg.GetPool()},
	}, nil
}

// ControllerUnpublishVolume withdraws that from one node or, with none named,
// from all. It succeeds whatever does not exist.
func (s *service) ControllerUnpublishVolume(ctx context.Context, r *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	exists, err := known(r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if exists {
		_, err := s.volumes.UnpublishVolume(ctx, connect.NewRequest(&dotmeshv1.UnpublishVolumeRequest{
			Volume: r.GetVolumeId(), Node: r.GetNodeId(),
		}))
		if err != nil {
			return nil, err
		}
	}
	return &csi.ControllerUnpublishVolumeResponse{}, nil
}
