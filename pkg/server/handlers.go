package server

import (
	"context"

	"connectrpc.com/connect"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
)

// planeSource gives the plane, or says why there is none yet.
type planeSource func() (*plane, error)

// call hands a request to one of the plane's flows.
func call[Q, R any](ctx context.Context, get planeSource, req *connect.Request[Q], flow func(*plane, context.Context, *Q) (*R, error)) (*connect.Response[R], error) {
	p, err := get()
	if err != nil {
		return nil, err
	}
	if err := forMe(ctx, p.pool); err != nil {
		return nil, err
	}
	res, err := flow(p, ctx, req.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(res), nil
}

// dotHandler implements dotmeshv1connect.DotServiceHandler.
type dotHandler struct{ get planeSource }

func (h dotHandler) ListDots(ctx context.Context, r *connect.Request[v1.ListDotsRequest]) (*connect.Response[v1.ListDotsResponse], error) {
	return call(ctx, h.get, r, (*plane).listDots)
}

func (h dotHandler) GetDot(ctx context.Context, r *connect.Request[v1.GetDotRequest]) (*connect.Response[v1.GetDotResponse], error) {
	return call(ctx, h.get, r, (*plane).getDot)
}

func (h dotHandler) CreateDot(ctx context.Context, r *connect.Request[v1.CreateDotRequest]) (*connect.Response[v1.CreateDotResponse], error) {
	return route(ctx, h.get, r, (*plane).createDot, onDots(dotmeshv1connect.DotServiceClient.CreateDot))
}

func (h dotHandler) DeleteDot(ctx context.Context, r *connect.Request[v1.DeleteDotRequest]) (*connect.Response[v1.DeleteDotResponse], error) {
	return route(ctx, h.get, r, (*plane).deleteDot, onDots(dotmeshv1connect.DotServiceClient.DeleteDot))
}

func (h dotHandler) ShareDot(ctx context.Context, r *connect.Request[v1.ShareDotRequest]) (*connect.Response[v1.ShareDotResponse], error) {
	return route(ctx, h.get, r, (*plane).shareDot, onDots(dotmeshv1connect.DotServiceClient.ShareDot))
}

func (h dotHandler) ListCommits(ctx context.Context, r *connect.Request[v1.ListCommitsRequest]) (*connect.Response[v1.ListCommitsResponse], error) {
	return call(ctx, h.get, r, (*plane).listCommits)
}

func (h dotHandler) Commit(ctx context.Context, r *connect.Request[v1.CommitRequest]) (*connect.Response[v1.CommitResponse], error) {
	return route(ctx, h.get, r, (*plane).commitDot, onDots(dotmeshv1connect.DotServiceClient.Commit))
}

func (h dotHandler) CreateBranch(ctx context.Context, r *connect.Request[v1.CreateBranchRequest]) (*connect.Response[v1.CreateBranchResponse], error) {
	return route(ctx, h.get, r, (*plane).createBranch, onDots(dotmeshv1connect.DotServiceClient.CreateBranch))
}

func (h dotHandler) ResetBranch(ctx context.Context, r *connect.Request[v1.ResetBranchRequest]) (*connect.Response[v1.ResetBranchResponse], error) {
	return route(ctx, h.get, r, (*plane).resetBranch, onDots(dotmeshv1connect.DotServiceClient.ResetBranch))
}

// volumeHandler implements dotmeshv1connect.VolumeServiceHandler.
type volumeHandler struct{ get planeSource }

func (h volumeHandler) CreateVolume(ctx context.Context, r *connect.Request[v1.CreateVolumeRequest]) (*connect.Response[v1.CreateVolumeResponse], error) {
	return route(ctx, h.get, r, (*plane).createVolume, onVolumes(dotmeshv1connect.VolumeServiceClient.CreateVolume))
}

func (h volumeHandler) DeleteVolume(ctx context.Context, r *connect.Request[v1.DeleteVolumeRequest]) (*connect.Response[v1.DeleteVolumeResponse], error) {
	return route(ctx, h.get, r, (*plane).deleteVolume, onVolumes(dotmeshv1connect.VolumeServiceClient.DeleteVolume))
}

func (h volumeHandler) GetVolume(ctx context.Context, r *connect.Request[v1.GetVolumeRequest]) (*connect.Response[v1.GetVolumeResponse], error) {
	return call(ctx, h.get, r, (*plane).getVolume)
}

func (h volumeHandler) ListVolumes(ctx context.Context, r *connect.Request[v1.ListVolumesRequest]) (*connect.Response[v1.ListVolumesResponse], error) {
	return call(ctx, h.get, r, (*plane).listVolumes)
}

func (h volumeHandler) PublishVolume(ctx context.Context, r *connect.Request[v1.PublishVolumeRequest]) (*connect.Response[v1.PublishVolumeResponse], error) {
	return route(ctx, h.get, r, (*plane).publishVolume, onVolumes(dotmeshv1connect.VolumeServiceClient.PublishVolume))
}

func (h volumeHandler) UnpublishVolume(ctx context.Context, r *connect.Request[v1.UnpublishVolumeRequest]) (*connect.Response[v1.UnpublishVolumeResponse], error) {
	return call(ctx, h.get, r, (*plane).unpublishVolume)
}

func (h volumeHandler) ExpandVolume(ctx context.Context, r *connect.Request[v1.ExpandVolumeRequest]) (*connect.Response[v1.ExpandVolumeResponse], error) {
	return route(ctx, h.get, r, (*plane).expandVolume, onVolumes(dotmeshv1connect.VolumeServiceClient.ExpandVolume))
}

func (h volumeHandler) GetCapacity(ctx context.Context, r *connect.Request[v1.GetCapacityRequest]) (*connect.Response[v1.GetCapacityResponse], error) {
	return call(ctx, h.get, r, (*plane).getCapacity)
}

func (h volumeHandler) CreateSnapshot(ctx context.Context, r *connect.Request[v1.CreateSnapshotRequest]) (*connect.Response[v1.CreateSnapshotResponse], error) {
	return route(ctx, h.get, r, (*plane).createSnapshot, onVolumes(dotmeshv1connect.VolumeServiceClient.CreateSnapshot))
}

func (h volumeHandler) DeleteSnapshot(ctx context.Context, r *connect.Request[v1.DeleteSnapshotRequest]) (*connect.Response[v1.DeleteSnapshotResponse], error) {
	return route(ctx, h.get, r, (*plane).deleteSnapshot, onVolumes(dotmeshv1connect.VolumeServiceClient.DeleteSnapshot))
}

func (h volumeHandler) GetSnapshot(ctx context.Context, r *connect.Request[v1.GetSnapshotRequest]) (*connect.Response[v1.GetSnapshotResponse], error) {
	return call(ctx, h.get, r, (*plane).getSnapshot)
}

func (h volumeHandler) ListSnapshots(ctx context.Context, r *connect.Request[v1.ListSnapshotsRequest]) (*connect.Response[v1.ListSnapshotsResponse], error) {
	return call(ctx, h.get, r, (*plane).listSnapshots)
}

// nodeHandler implements dotmeshv1connect.NodeServiceHandler.
type nodeHandler struct{ get planeSource }

func (h nodeHandler) PrepareVolume(ctx context.Context, r *connect.Request[v1.PrepareVolumeRequest]) (*connect.Response[v1.PrepareVolumeResponse], error) {
	return call(ctx, h.get, r, (*plane).prepareVolume)
}

func (h nodeHandler) ResizeVolume(ctx context.Context, r *connect.Request[v1.ResizeVolumeRequest]) (*connect.Response[v1.ResizeVolumeResponse], error) {
	return call(ctx, h.get, r, (*plane).resizeVolume)
}
