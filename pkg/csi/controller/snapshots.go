package controller

import (
	"context"

	"connectrpc.com/connect"
	"github.com/container-storage-interface/spec/lib/go/csi"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// CreateSnapshot commits the whole dot of the volume.
func (s *service) CreateSnapshot(ctx context.Context, r *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	if err := checkName(r.GetName()); err != nil {
		return nil, err
	}
	params, err := parseSnapshotParameters(r.GetParameters())
	if err != nil {
		return nil, err
	}
	if err := driver.CheckVolume(r.GetSourceVolumeId()); err != nil {
		return nil, err
	}
	message, err := s.message(ctx, r.GetName(), params)
	if err != nil {
		return nil, err
	}
	res, err := s.volumes.CreateSnapshot(ctx, connect.NewRequest(&dotmeshv1.CreateSnapshotRequest{
		CsiName:  r.GetName(),
		Volume:   r.GetSourceVolumeId(),
		Message:  message,
		Metadata: params.metadata(),
	}))
	if err != nil {
		return nil, err
	}
	return &csi.CreateSnapshotResponse{Snapshot: snapshot(res.Msg.GetSnapshot())}, nil
}

// DeleteSnapshot succeeds for a snapshot that does not exist, or cannot.
func (s *service) DeleteSnapshot(ctx context.Context, r *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	if r.GetSnapshotId() == "" {
		return nil, dot.Invalid("the snapshot id is missing")
	}
	if _, err := dot.ParseSnapshotHandle(r.GetSnapshotId()); err != nil {
		return &csi.DeleteSnapshotResponse{}, nil //nolint:nilerr // a handle that we never gave names nothing
	}
	_, err := s.volumes.DeleteSnapshot(ctx, connect.NewRequest(&dotmeshv1.DeleteSnapshotRequest{Handle: r.GetSnapshotId()}))
	if err != nil {
		return nil, err
	}
	return &csi.DeleteSnapshotResponse{}, nil
}

// GetSnapshot describes one, also a commit that dm made.
func (s *service) GetSnapshot(ctx context.Context, r *csi.GetSnapshotRequest) (*csi.GetSnapshotResponse, error) {
	if r.GetSnapshotId() == "" {
		return nil, dot.Invalid("the snapshot id is missing")
	}
	found, err := s.snapshot(ctx, r.GetSnapshotId())
	if err != nil {
		return nil, err
	}
	return &csi.GetSnapshotResponse{Snapshot: found}, nil
}

func (s *service) snapshot(ctx context.Context, id string) (*csi.Snapshot, error) {
	if _, err := dot.ParseSnapshotHandle(id); err != nil {
		return nil, dot.NotFound("the snapshot does not exist: %w", err)
	}
	res, err := s.volumes.GetSnapshot(ctx, connect.NewRequest(&dotmeshv1.GetSnapshotRequest{Handle: id}))
	if err != nil {
		return nil, err
	}
	return snapshot(res.Msg.GetSnapshot()), nil
}

// ListSnapshots lists those that CreateSnapshot made: all, one, or those of one
// volume. What does not exist makes an empty list.
func (s *service) ListSnapshots(ctx context.Context, r *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	if r.GetMaxEntries() < 0 {
		return nil, dot.Invalid("max_entries cannot be negative")
	}
	out := &csi.ListSnapshotsResponse{}
	if id := r.GetSnapshotId(); id != "" {
		found, err := s.snapshot(ctx, id)
		switch {
		case err != nil && dot.CodeOf(err) != dot.CodeNotFound:
			return nil, err
		case err == nil && (r.GetSourceVolumeId() == "" || r.GetSourceVolumeId() == found.GetSourceVolumeId()):
			out.Entries = []*csi.ListSnapshotsResponse_Entry{{Snapshot: found}}
		}
		return out, nil
	}
	if v := r.GetSourceVolumeId(); v != "" {
		if _, err := dot.ParseVolumeHandle(v); err != nil {
			return out, nil //nolint:nilerr // a volume that cannot exist has no snapshots
		}
	}
	res, err := s.volumes.ListSnapshots(ctx, connect.NewRequest(&dotmeshv1.ListSnapshotsRequest{
		MaxEntries: r.GetMaxEntries(), StartingToken: r.GetStartingToken(), Volume: r.GetSourceVolumeId(),
	}))
	switch {
	case err != nil && dot.CodeOf(err) == dot.CodeNotFound:
		return out, nil
	case err != nil:
		return nil, err
	}
	out.NextToken = res.Msg.GetNextToken()
	for _, found := range res.Msg.GetSnapshots() {
		out.Entries = append(out.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: snapshot(found)})
	}
	return out, nil
}
