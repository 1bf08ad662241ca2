package controller

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
)

// The tests of this package know no server: fakeServer records what it is asked and
// answers what a test says, and fakeKube is the API server. What a real server
// makes of the calls is tested by test/sanity.

type fakeServer struct {
	dotmeshv1connect.VolumeServiceClient // a call that no test expects panics
	asked                                []proto.Message
	volume                               *dotmeshv1.Volume
	snapshot                             *dotmeshv1.Snapshot
	err                                  error
}

func answer[Req, Res any](f *fakeServer, req *connect.Request[Req], res *Res) (*connect.Response[Res], error) {
	f.asked = append(f.asked, any(req.Msg).(proto.Message))
	if f.err != nil {
		return nil, f.err
	}
	return connect.NewResponse(res), nil
}

func (f *fakeServer) CreateVolume(_ context.Context, r *connect.Request[dotmeshv1.CreateVolumeRequest]) (*connect.Response[dotmeshv1.CreateVolumeResponse], error) {
	return answer(f, r, &dotmeshv1.CreateVolumeResponse{Volume: f.volume})
}

func (f *fakeServer) DeleteVolume(_ context.Context, r *connect.Request[dotmeshv1.DeleteVolumeRequest]) (*connect.Response[dotmeshv1.DeleteVolumeResponse], error) {
	return answer(f, r, &dotmeshv1.DeleteVolumeResponse{})
}

func (f *fakeServer) GetVolume(_ context.Context, r *connect.Request[dotmeshv1.GetVolumeRequest]) (*connect.Response[dotmeshv1.GetVolumeResponse], error) {
	return answer(f, r, &dotmeshv1.GetVolumeResponse{Volume: f.volume})
}

func (f *fakeServer) ListVolumes(_ context.Context, r *connect.Request[dotmeshv1.ListVolumesRequest]) (*connect.Response[dotmeshv1.ListVolumesResponse], error) {
	return answer(f, r, &dotmeshv1.ListVolumesResponse{Volumes: []*dotmeshv1.Volume{f.volume}, NextToken: "more"})
}

func (f *fakeServer) PublishVolume(_ context.Context, r *connect.Request[dotmeshv1.PublishVolumeRequest]) (*connect.Response[dotmeshv1.PublishVolumeResponse], error) {
	return answer(f, r, &dotmeshv1.PublishVolumeResponse{Pool: "77"})
}

func (f *fakeServer) UnpublishVolume(_ context.Context, r *connect.Request[dotmeshv1.UnpublishVolumeRequest]) (*connect.Response[dotmeshv1.UnpublishVolumeResponse], error) {
	return answer(f, r, &dotmeshv1.UnpublishVolumeResponse{})
}

func (f *fakeServer) ExpandVolume(_ context.Context, r *connect.Request[dotmeshv1.ExpandVolumeRequest]) (*connect.Response[dotmeshv1.ExpandVolumeResponse], error) {
	return answer(f, r, &dotmeshv1.ExpandVolumeResponse{SizeBytes: 2 << 30})
}

func (f *fakeServer) GetCapacity(_ context.Context, r *connect.Request[dotmeshv1.GetCapacityRequest]) (*connect.Response[dotmeshv1.GetCapacityResponse], error) {
	return answer(f, r, &dotmeshv1.GetCapacityResponse{AvailableBytes: 5 << 30, MaximumVolumeBytes: 4 << 30})
}

func (f *fakeServer) CreateSnapshot(_ context.Context, r *connect.Request[dotmeshv1.CreateSnapshotRequest]) (*connect.Response[dotmeshv1.CreateSnapshotResponse], error) {
	return answer(f, r, &dotmeshv1.CreateSnapshotResponse{Snapshot: f.snapshot})
}

func (f *fakeServer) DeleteSnapshot(_ context.Context, r *connect.Request[dotmeshv1.DeleteSnapshotRequest]) (*connect.Response[dotmeshv1.DeleteSnapshotResponse], error) {
	return answer(f, r, &dotmeshv1.DeleteSnapshotResponse{})
}

func (f *fakeServer) GetSnapshot(_ context.Context, r *connect.Request[dotmeshv1.GetSnapshotRequest]) (*connect.Response[dotmeshv1.GetSnapshotResponse], error) {
	return answer(f, r, &dotmeshv1.GetSnapshotResponse{Snapshot: f.snapshot})
}

func (f *fakeServer) ListSnapshots(_ context.Context, r *connect.Request[dotmeshv1.ListSnapshotsRequest]) (*connect.Response[dotmeshv1.ListSnapshotsResponse], error) {
	return answer(f, r, &dotmeshv1.ListSnapshotsResponse{Snapshots: []*dotmeshv1.Snapshot{f.snapshot}, NextToken: "more"})
}

type fakeKube struct {
	pvc, snapshot Object
	err           error
}

func (f *fakeKube) PersistentVolumeClaim(context.Context, string, string) (Object, error) {
	return f.pvc, f.err
}

func (f *fakeKube) VolumeSnapshot(context.Context, string, string) (Object, error) {
	return f.snapshot, f.err
}
