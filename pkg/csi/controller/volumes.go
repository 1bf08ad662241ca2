package controller

import (
	"context"

	"connectrpc.com/connect"
	"github.com/container-storage-interface/spec/lib/go/csi"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// maxName is what the specification lets a name have, in bytes ("Size Limits").
const maxName = 128

// Keys of a volume's context, for whoever reads a PersistentVolume.
const (
	contextDot    = "dot"
	contextBranch = "branch"
	contextSubdot = "subdot"
)

// CreateVolume makes or joins the dot that PVC and StorageClass choose.
func (s *service) CreateVolume(ctx context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	req, err := s.creation(ctx, r)
	if err != nil {
		return nil, err
	}
	res, err := s.volumes.CreateVolume(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	v := s.volume(res.Msg.GetVolume())
	v.ContentSource = r.GetVolumeContentSource()
	return &csi.CreateVolumeResponse{Volume: v}, nil
}

// creation turns CreateVolume's request, with the PVC's annotations, into the
// server's.
func (s *service) creation(ctx context.Context, r *csi.CreateVolumeRequest) (*dotmeshv1.CreateVolumeRequest, error) {
	if err := checkName(r.GetName()); err != nil {
		return nil, err
	}
	if len(r.GetMutableParameters()) > 0 {
		return nil, dot.Invalid("a VolumeAttributesClass is not supported: use the parameters of the StorageClass")
	}
	readOnly, err := wanted(r.GetVolumeCapabilities())
	if err != nil {
		return nil, err
	}
	if readOnly && r.GetVolumeContentSource() == nil {
		return nil, dot.Invalid("ReadOnlyMany needs something to read: give the PersistentVolumeClaim a dataSource (a VolumeSnapshot or another PersistentVolumeClaim), or use ReadWriteOnce")
	}
	if err := checkRange(r.GetCapacityRange()); err != nil {
		return nil, err
	}
	params, err := parseClassParameters(r.GetParameters())
	if err != nil {
		return nil, err
	}
	nodes, err := s.preferred(r.GetAccessibilityRequirements())
	if err != nil {
		return nil, err
	}
	snapshot, volume, err := source(r.GetVolumeContentSource())
	if err != nil {
		return nil, err
	}
	chosen, uid, err := s.claimed(ctx, r.GetName(), params)
	if err != nil {
		return nil, err
	}
	chosen = chosen.or(params.choice)
	return &dotmeshv1.CreateVolumeRequest{
		CsiName:             r.GetName(),
		RequiredBytes:       r.GetCapacityRange().GetRequiredBytes(),
		LimitBytes:          r.GetCapacityRange().GetLimitBytes(),
		KubernetesNamespace: params.PVCNamespace,
		PvcName:             params.PVCName,
		PvcUid:              uid,
		DotNamespace:        chosen.Namespace.String(),
		DotName:             chosen.Name.String(),
		Subdot:              chosen.Subdot.String(),
		Branch:              chosen.Branch.String(),
		Compression:         params.Settings.Compression.String(),
		RecordSize:          r.GetParameters()[keyRecordSize],
		CrossNamespace:      params.CrossNamespace,
		ReadOnly:            readOnly,
		SourceSnapshot:      snapshot,
		SourceVolume:        volume,
		PreferredNodes:      nodes,
	}, nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return dot.Invalid("the name is missing")
	case len(name) > maxName:
		return dot.Invalid("the name has %d bytes and may have %d", len(name), maxName)
	}
	return nil
}

func checkRange(r *csi.CapacityRange) error {
	required, limit := r.GetRequiredBytes(), r.GetLimitBytes()
	switch {
	case required < 0, limit < 0:
		return dot.Invalid("a size cannot be negative")
	case limit > 0 && required > limit:
		return dot.Errorf(dot.CodeOutOfRange, "the size must be at least %d bytes and at most %d, which is impossible", required, limit)
	}
	return nil
}

// source gives the handle of what a volume starts from, in one of its results. A
// handle that we cannot have given names nothing that exists.
func source(from *csi.VolumeContentSource) (snapshot, volume string, err error) {
	switch {
	case from == nil:
		return "", "", nil
	case from.GetSnapshot() != nil:
		snapshot = from.GetSnapshot().GetSnapshotId()
		if _, err := dot.ParseSnapshotHandle(snapshot); err != nil {
			return "", "", dot.NotFound("the source does not exist: %w", err)
		}
	case from.GetVolume() != nil:
		volume = from.GetVolume().GetVolumeId()
		if _, err := dot.ParseVolumeHandle(volume); err != nil {
			return "", "", dot.NotFound("the source does not exist: %w", err)
		}
	default:
		return "", "", dot.Invalid("a volume can start from a VolumeSnapshot or from another volume, and from nothing else")
	}
	return snapshot, volume, nil
}

// DeleteVolume succeeds for a volume that does not exist, or cannot.
func (s *service) DeleteVolume(ctx context.Context, r *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	exists, err := known(r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if exists {
		if _, err := s.volumes.DeleteVolume(ctx, connect.NewRequest(&dotmeshv1.DeleteVolumeRequest{Volume: r.GetVolumeId()})); err != nil {
			return nil, err
		}
	}
	return &csi.DeleteVolumeResponse{}, nil
}

// ControllerExpandVolume records the larger size; the node's kubelet then has
// the quota raised.
func (s *service) ControllerExpandVolume(ctx context.Context, r *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	if r.GetCapacityRange().GetRequiredBytes() == 0 && r.GetCapacityRange().GetLimitBytes() == 0 {
		return nil, dot.Invalid("the new size is missing")
	}
	if err := checkRange(r.GetCapacityRange()); err != nil {
		return nil, err
	}
	if r.GetVolumeCapability() != nil {
		if _, err := driver.ParseCapability(r.GetVolumeCapability()); err != nil {
			return nil, err
		}
	}
	if err := driver.CheckVolume(r.GetVolumeId()); err != nil {
		return nil, err
	}
	res, err := s.volumes.ExpandVolume(ctx, connect.NewRequest(&dotmeshv1.ExpandVolumeRequest{
		Volume:        r.GetVolumeId(),
		RequiredBytes: r.GetCapacityRange().GetRequiredBytes(),
		LimitBytes:    r.GetCapacityRange().GetLimitBytes(),
	}))
	if err != nil {
		return nil, err
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: res.Msg.GetSizeBytes(), NodeExpansionRequired: true}, nil
}

// ControllerGetVolume describes one volume.
func (s *service) ControllerGetVolume(ctx context.Context, r *csi.ControllerGetVolumeRequest) (*csi.ControllerGetVolumeResponse, error) {
	v, err := s.get(ctx, r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	return &csi.ControllerGetVolumeResponse{
		Volume: s.volume(v),
		Status: &csi.ControllerGetVolumeResponse_VolumeStatus{PublishedNodeIds: v.GetPublishedNodes()},
	}, nil
}

// ListVolumes lists all volumes and the nodes that they are published to.
func (s *service) ListVolumes(ctx context.Context, r *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	if r.GetMaxEntries() < 0 {
		return nil, dot.Invalid("max_entries cannot be negative")
	}
	res, err := s.volumes.ListVolumes(ctx, connect.NewRequest(&dotmeshv1.ListVolumesRequest{
		MaxEntries: r.GetMaxEntries(), StartingToken: r.GetStartingToken(),
	}))
	if err != nil {
		return nil, err
	}
	out := &csi.ListVolumesResponse{NextToken: res.Msg.GetNextToken()}
	for _, v := range res.Msg.GetVolumes() {
		out.Entries = append(out.Entries, &csi.ListVolumesResponse_Entry{
			Volume: s.volume(v),
			Status: &csi.ListVolumesResponse_VolumeStatus{PublishedNodeIds: v.GetPublishedNodes()},
		})
	}
	return out, nil
}

// ValidateVolumeCapabilities tells whether an existing volume can be used so.
func (s *service) ValidateVolumeCapabilities(ctx context.Context, r *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if r.GetVolumeId() != "" && len(r.GetVolumeCapabilities()) == 0 {
		return nil, dot.Invalid("the volume capabilities are missing")
	}
	v, err := s.get(ctx, r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	refused := func(reason string) (*csi.ValidateVolumeCapabilitiesResponse, error) {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: reason}, nil
	}
	readOnly, err := wanted(r.GetVolumeCapabilities())
	switch {
	case err != nil:
		return refused(err.Error())
	case readOnly && !v.GetReadOnly():
		return refused("ReadOnlyMany is for a volume that was made so from a VolumeSnapshot or another volume, and this one is writable")
	}
	if _, err := parseClassParameters(r.GetParameters()); err != nil {
		return refused(err.Error())
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext:      r.GetVolumeContext(),
		VolumeCapabilities: r.GetVolumeCapabilities(),
		Parameters:         r.GetParameters(),
	}}, nil
}

// GetCapacity tells what is left on a node's pools; without a node, on all together.
func (s *service) GetCapacity(ctx context.Context, r *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	if _, err := parseClassParameters(r.GetParameters()); err != nil {
		return nil, err
	}
	if len(r.GetVolumeCapabilities()) > 0 {
		if _, err := wanted(r.GetVolumeCapabilities()); err != nil {
			return &csi.GetCapacityResponse{}, nil //nolint:nilerr // no capacity for what is not supported
		}
	}
	if !s.ours(r.GetAccessibleTopology()) {
		return &csi.GetCapacityResponse{}, nil
	}
	res, err := s.volumes.GetCapacity(ctx, connect.NewRequest(&dotmeshv1.GetCapacityRequest{
		Node: r.GetAccessibleTopology().GetSegments()[driver.TopologyNode],
	}))
	if err != nil {
		return nil, err
	}
	return capacity(res.Msg), nil
}

// get reads a volume that must exist.
func (s *service) get(ctx context.Context, id string) (*dotmeshv1.Volume, error) {
	if err := driver.CheckVolume(id); err != nil {
		return nil, err
	}
	res, err := s.volumes.GetVolume(ctx, connect.NewRequest(&dotmeshv1.GetVolumeRequest{Volume: id}))
	if err != nil {
		return nil, err
	}
	return res.Msg.GetVolume(), nil
}

// known tells whether a handle can be one of ours.
func known(id string) (bool, error) {
	err := driver.CheckVolume(id)
	if err != nil && dot.CodeOf(err) == dot.CodeNotFound {
		return false, nil
	}
	return err == nil, err
}
