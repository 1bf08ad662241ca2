package driver

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/test/lab/clouddisk"
)

const (
	mib         = 1 << 20
	defaultSize = 1 << 30
)

// Controller makes, attaches and resizes disks.
type Controller struct {
	csi.UnimplementedControllerServer
	Disks *clouddisk.Disks
}

// ControllerGetCapabilities is of the CSI specification, as all here is.
func (c *Controller) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	res := &csi.ControllerGetCapabilitiesResponse{}
	for _, t := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		res.Capabilities = append(res.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: t}},
		})
	}
	return res, nil
}

// CreateVolume makes an empty disk.
func (c *Controller) CreateVolume(ctx context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if r.GetName() == "" {
		return nil, dot.Invalid("the name is missing")
	}
	if r.GetVolumeContentSource() != nil {
		return nil, dot.Invalid("a disk is made empty: it cannot be made from another or from a snapshot")
	}
	if err := checkCapabilities(r.GetVolumeCapabilities()); err != nil {
		return nil, err
	}
	size, err := sizeIn(r.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	disk, err := c.Disks.Create(ctx, r.GetName(), size)
	if err != nil {
		return nil, coded(err)
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{VolumeId: disk.ID, CapacityBytes: disk.Bytes}}, nil
}

func checkCapabilities(all []*csi.VolumeCapability) error {
	if len(all) == 0 {
		return dot.Invalid("the volume capabilities are missing")
	}
	for _, c := range all {
		if err := checkCapability(c); err != nil {
			return err
		}
	}
	return nil
}

// sizeIn is the smallest whole number of MiB in a range.
func sizeIn(r *csi.CapacityRange) (int64, error) {
	size := r.GetRequiredBytes()
	if size < 0 || r.GetLimitBytes() < 0 {
		return 0, dot.Invalid("the capacity is negative")
	}
	if size == 0 {
		size = defaultSize
	}
	size = (size + mib - 1) / mib * mib
	if limit := r.GetLimitBytes(); limit > 0 && size > limit {
		return 0, dot.Errorf(dot.CodeOutOfRange, "a disk has whole MiB and at least the required bytes: %d is more than the limit of %d", size, limit)
	}
	return size, nil
}

// DeleteVolume removes a disk that is attached nowhere.
func (c *Controller) DeleteVolume(ctx context.Context, r *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, dot.Invalid("the volume id is missing")
	}
	if clouddisk.CheckID(r.GetVolumeId()) != nil {
		return &csi.DeleteVolumeResponse{}, nil // we have no such disk
	}
	return &csi.DeleteVolumeResponse{}, coded(c.Disks.Delete(ctx, r.GetVolumeId()))
}

// ControllerPublishVolume plugs a disk into a node's machine.
func (c *Controller) ControllerPublishVolume(ctx context.Context, r *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	if r.GetVolumeId() == "" || r.GetNodeId() == "" {
		return nil, dot.Invalid("the volume id or the node id is missing")
	}
	if err := checkCapability(r.GetVolumeCapability()); err != nil {
		return nil, err
	}
	if err := clouddisk.CheckID(r.GetVolumeId()); err != nil {
		return nil, coded(err)
	}
	return &csi.ControllerPublishVolumeResponse{}, coded(c.Disks.Attach(ctx, r.GetVolumeId(), r.GetNodeId()))
}

// ControllerUnpublishVolume takes a disk out of a node's machine. A request that
// names no node is for all, and so for the one where the disk is.
func (c *Controller) ControllerUnpublishVolume(ctx context.Context, r *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, dot.Invalid("the volume id is missing")
	}
	if clouddisk.CheckID(r.GetVolumeId()) != nil {
		return &csi.ControllerUnpublishVolumeResponse{}, nil
	}
	node := r.GetNodeId()
	if node == "" {
		disk, err := c.Disks.Get(r.GetVolumeId())
		if err != nil {
			return nil, coded(err)
		}
		node = disk.Node
	}
	return &csi.ControllerUnpublishVolumeResponse{}, coded(c.Disks.Detach(ctx, r.GetVolumeId(), node))
}

// ControllerExpandVolume makes a disk larger, whether it is used or not.
func (c *Controller) ControllerExpandVolume(ctx context.Context, r *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	size, err := sizeIn(r.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	if err := clouddisk.CheckID(r.GetVolumeId()); err != nil {
		return nil, coded(err)
	}
	now, err := c.Disks.Resize(ctx, r.GetVolumeId(), size)
	if err != nil {
		return nil, coded(err)
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: now, NodeExpansionRequired: r.GetVolumeCapability().GetBlock() == nil}, nil
}

// ValidateVolumeCapabilities says whether a disk can be used so.
func (c *Controller) ValidateVolumeCapabilities(_ context.Context, r *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if r.GetVolumeId() == "" || len(r.GetVolumeCapabilities()) == 0 {
		return nil, dot.Invalid("the volume id or the volume capabilities are missing")
	}
	if err := clouddisk.CheckID(r.GetVolumeId()); err != nil {
		return nil, coded(err)
	}
	if _, err := c.Disks.Get(r.GetVolumeId()); err != nil {
		return nil, coded(err)
	}
	if err := checkCapabilities(r.GetVolumeCapabilities()); err != nil {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: r.GetVolumeCapabilities()}}, nil
}
