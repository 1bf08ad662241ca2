package controller

import (
	"context"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// The tests of this file know no server: fakeServer records what it is asked and
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

const (
	uid        = "0b0e6e2a-5f0a-4d52-9d6b-6f2f4b2a9a11"
	csiName    = "pvc-" + uid
	snapName   = "snapshot-" + uid
	volumeID   = "f81d4fae-7dec-81d0-a765-00a0c91e6bf6"
	snapshotID = volumeID + "/" + uid
)

func fixture() (*service, *fakeServer, *fakeKube) {
	server := &fakeServer{
		volume: &dotmeshv1.Volume{
			Id: volumeID, Dot: "admin/d", Branch: "master", Subdot: "__default__", SizeBytes: 1 << 30,
			PublishedNodes: []string{"n1"},
		},
		snapshot: &dotmeshv1.Snapshot{Handle: snapshotID, SourceVolume: volumeID, SizeBytes: 1 << 30, Created: timestamppb.Now(), Ready: true},
	}
	kube := &fakeKube{pvc: Object{UID: uid}, snapshot: Object{UID: uid}}
	return &service{volumes: server, kube: kube, cluster: "c1"}, server, kube
}

func capability(mode csi.VolumeCapability_AccessMode_Mode) []*csi.VolumeCapability {
	return []*csi.VolumeCapability{{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
	}}
}

const (
	writer  = csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	readers = csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
)

func claim() map[string]string {
	return map[string]string{keyPVCName: "claim", keyPVCNamespace: "kube"}
}

func fromSnapshot(id string) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: id}}}
}

func fromVolume(id string) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: id}}}
}

func TestControllerCapabilitiesAreExactlyThese(t *testing.T) {
	s, _, _ := fixture()
	res, err := s.ControllerGetCapabilities(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range res.GetCapabilities() {
		got = append(got, c.GetRpc().GetType().String())
	}
	slices.Sort(got)
	want := []string{
		"CLONE_VOLUME", "CREATE_DELETE_SNAPSHOT", "CREATE_DELETE_VOLUME", "EXPAND_VOLUME", "GET_CAPACITY", "GET_SNAPSHOT",
		"GET_VOLUME", "LIST_SNAPSHOTS", "LIST_VOLUMES", "LIST_VOLUMES_PUBLISHED_NODES", "PUBLISH_READONLY",
		"PUBLISH_UNPUBLISH_VOLUME", "SINGLE_NODE_MULTI_WRITER",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestCreateVolumeAsksForWhatThePVCChose(t *testing.T) {
	s, server, kube := fixture()
	kube.pvc.Annotations = map[string]string{"dotmeshName": "d", "dotmesh.csi/dotmeshSubdot": "db"}
	params := claim()
	params["dotmeshNamespace"], params["dotmeshSubdot"] = "team", "other"
	params["compression"], params["recordsize"], params["crossNamespace"] = "zstd", "16K", "true"
	node := func(n string) *csi.Topology {
		return &csi.Topology{Segments: map[string]string{driver.TopologyNode: n, driver.TopologyCluster: "c1"}}
	}
	res, err := s.CreateVolume(t.Context(), &csi.CreateVolumeRequest{
		Name: csiName, Parameters: params, VolumeCapabilities: capability(writer),
		CapacityRange:       &csi.CapacityRange{RequiredBytes: 1 << 30, LimitBytes: 2 << 30},
		VolumeContentSource: fromSnapshot(snapshotID),
		AccessibilityRequirements: &csi.TopologyRequirement{
			Preferred: []*csi.Topology{node("n2"), node("n1")}, Requisite: []*csi.Topology{node("n1"), node("n3")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &dotmeshv1.CreateVolumeRequest{
		CsiName: csiName, RequiredBytes: 1 << 30, LimitBytes: 2 << 30, KubernetesNamespace: "kube", PvcName: "claim", PvcUid: uid,
		DotNamespace: "team", DotName: "d", Subdot: "db", Compression: "zstd", RecordSize: "16K", CrossNamespace: true,
		SourceSnapshot: snapshotID, PreferredNodes: []string{"n2", "n1", "n3"},
	}
	if len(server.asked) != 1 || !proto.Equal(server.asked[0], want) {
		t.Errorf("asked %v, want %v", server.asked, want)
	}
	v := res.GetVolume()
	if v.GetVolumeId() != volumeID || v.GetCapacityBytes() != 1<<30 || !proto.Equal(v.GetContentSource(), fromSnapshot(snapshotID)) {
		t.Errorf("got %v", v)
	}
	if top := v.GetAccessibleTopology(); len(top) != 1 || len(top[0].GetSegments()) != 1 || top[0].GetSegments()[driver.TopologyCluster] != "c1" {
		t.Errorf("got topology %v, want the cluster alone", top)
	}
}

func TestCreateVolumeWithoutPVC(t *testing.T) {
	s, server, _ := fixture()
	s.kube = nil
	if _, err := s.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "größe/ä", VolumeCapabilities: capability(writer)}); err != nil {
		t.Fatal(err)
	}
	if want := (&dotmeshv1.CreateVolumeRequest{CsiName: "größe/ä"}); !proto.Equal(server.asked[0], want) {
		t.Errorf("asked %v, want %v", server.asked[0], want)
	}
}

func TestCreateVolumeReadOnly(t *testing.T) {
	s, server, _ := fixture()
	_, err := s.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "v", VolumeCapabilities: capability(readers), VolumeContentSource: fromVolume(volumeID)})
	if err != nil {
		t.Fatal(err)
	}
	if want := (&dotmeshv1.CreateVolumeRequest{CsiName: "v", ReadOnly: true, SourceVolume: volumeID}); !proto.Equal(server.asked[0], want) {
		t.Errorf("asked %v, want %v", server.asked[0], want)
	}
}

func TestCreateVolumeRefuses(t *testing.T) {
	elsewhere := &csi.TopologyRequirement{Requisite: []*csi.Topology{{Segments: map[string]string{driver.TopologyCluster: "c2"}}}}
	for name, c := range map[string]struct {
		change func(*csi.CreateVolumeRequest, *fakeKube)
		code   dot.Code
		says   string
	}{
		"no name":         {func(r *csi.CreateVolumeRequest, _ *fakeKube) { r.Name = "" }, dot.CodeInvalid, "name"},
		"long name":       {func(r *csi.CreateVolumeRequest, _ *fakeKube) { r.Name = strings.Repeat("ä", 65) }, dot.CodeInvalid, "128"},
		"no capabilities": {func(r *csi.CreateVolumeRequest, _ *fakeKube) { r.VolumeCapabilities = nil }, dot.CodeInvalid, "capabilities"},
		"RWX": {func(r *csi.CreateVolumeRequest, _ *fakeKube) {
			r.VolumeCapabilities = capability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)
		}, dot.CodeInvalid, "use ReadWriteOnce"},
		"ROX of nothing": {func(r *csi.CreateVolumeRequest, _ *fakeKube) { r.VolumeCapabilities = capability(readers) }, dot.CodeInvalid, "dataSource"},
		"RWO and ROX": {func(r *csi.CreateVolumeRequest, _ *fakeKube) {
			r.VolumeCapabilities = append(capability(readers), capability(writer)...)
		}, dot.CodeInvalid, "ReadOnlyMany alone"},
		"impossible size": {func(r *csi.CreateVolumeRequest, _ *fakeKube) {
			r.CapacityRange = &csi.CapacityRange{RequiredBytes: 2, LimitBytes: 1}
		}, dot.CodeOutOfRange, "impossible"},
		"negative size": {func(r *csi.CreateVolumeRequest, _ *fakeKube) {
			r.CapacityRange = &csi.CapacityRange{RequiredBytes: -1}
		}, dot.CodeInvalid, "negative"},
		"unknown parameter": {func(r *csi.CreateVolumeRequest, _ *fakeKube) { r.Parameters["sped"] = "1" }, dot.CodeInvalid, `"sped"`},
		"attributes class": {func(r *csi.CreateVolumeRequest, _ *fakeKube) {
			r.MutableParameters = map[string]string{"a": "b"}
		}, dot.CodeInvalid, "VolumeAttributesClass"},
		"other cluster": {func(r *csi.CreateVolumeRequest, _ *fakeKube) { r.AccessibilityRequirements = elsewhere }, dot.CodeExhausted, `"c1"`},
		"source that cannot be": {func(r *csi.CreateVolumeRequest, _ *fakeKube) {
			r.VolumeContentSource = fromSnapshot("nonsense")
		}, dot.CodeNotFound, "source"},
		"volume that cannot be": {func(r *csi.CreateVolumeRequest, _ *fakeKube) {
			r.VolumeContentSource = fromVolume("nonsense")
		}, dot.CodeNotFound, "source"},
		"unknown source": {func(r *csi.CreateVolumeRequest, _ *fakeKube) { r.VolumeContentSource = &csi.VolumeContentSource{} }, dot.CodeInvalid, "VolumeSnapshot"},
		"API is away":    {func(_ *csi.CreateVolumeRequest, k *fakeKube) { k.err = dot.Unavailable("away") }, dot.CodeUnavailable, "away"},
		"PVC of no UID":  {func(_ *csi.CreateVolumeRequest, k *fakeKube) { k.pvc.UID = "" }, dot.CodeUnavailable, "no UID"},
		"bad annotation": {func(_ *csi.CreateVolumeRequest, k *fakeKube) {
			k.pvc.Annotations = map[string]string{"dotmeshName": "a@b"}
		}, dot.CodeInvalid, "annotation dotmeshName"},
	} {
		s, server, kube := fixture()
		r := &csi.CreateVolumeRequest{Name: csiName, VolumeCapabilities: capability(writer), Parameters: claim()}
		c.change(r, kube)
		_, err := s.CreateVolume(t.Context(), r)
		if err == nil || dot.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got code %d, %v, want code %d and %q", name, dot.CodeOf(err), err, c.code, c.says)
		}
		if len(server.asked) > 0 {
			t.Errorf("%s: the server was asked for %v", name, server.asked)
		}
	}
	s, _, _ := fixture()
	s.kube = nil
	if _, err := s.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: csiName, VolumeCapabilities: capability(writer), Parameters: claim()}); dot.CodeOf(err) != dot.CodeUnavailable {
		t.Errorf("a PVC and no Kubernetes: got %v, want unavailable", err)
	}
}

func TestHandlesThatCannotBe(t *testing.T) {
	const nonsense = "fake volume"
	s, server, _ := fixture()
	ctx := t.Context()
	calls := map[string]struct {
		call func(id string) error
		want dot.Code
	}{
		"delete": {func(id string) error {
			_, err := s.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: id})
			return err
		}, -1},
		"unpublish": {func(id string) error {
			_, err := s.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: id})
			return err
		}, -1},
		"delete snapshot": {func(id string) error {
			_, err := s.DeleteSnapshot(ctx, &csi.DeleteSnapshotRequest{SnapshotId: id})
			return err
		}, -1},
		"publish": {func(id string) error {
			_, err := s.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: "n", VolumeCapability: capability(writer)[0]})
			return err
		}, dot.CodeNotFound},
		"expand": {func(id string) error {
			_, err := s.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: &csi.CapacityRange{RequiredBytes: 1}})
			return err
		}, dot.CodeNotFound},
		"get": {func(id string) error {
			_, err := s.ControllerGetVolume(ctx, &csi.ControllerGetVolumeRequest{VolumeId: id})
			return err
		}, dot.CodeNotFound},
		"validate": {func(id string) error {
			_, err := s.ValidateVolumeCapabilities(ctx, &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: capability(writer)})
			return err
		}, dot.CodeNotFound},
		"snapshot": {func(id string) error {
			_, err := s.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: id})
			return err
		}, dot.CodeNotFound},
		"get snapshot": {func(id string) error {
			_, err := s.GetSnapshot(ctx, &csi.GetSnapshotRequest{SnapshotId: id})
			return err
		}, dot.CodeNotFound},
	}
	for name, c := range calls {
		err := c.call(nonsense)
		if c.want < 0 && err != nil || c.want >= 0 && (err == nil || dot.CodeOf(err) != c.want) {
			t.Errorf("%s: got %v", name, err)
		}
		if err := c.call(""); err == nil || dot.CodeOf(err) != dot.CodeInvalid {
			t.Errorf("%s of nothing: got %v, want invalid", name, err)
		}
	}
	if len(server.asked) > 0 {
		t.Errorf("the server was asked for %v", server.asked)
	}
}

func TestPublish(t *testing.T) {
	for _, c := range []struct {
		mode csi.VolumeCapability_AccessMode_Mode
		ro   bool
		want bool
	}{{writer, false, false}, {writer, true, true}, {readers, false, true}} {
		s, server, _ := fixture()
		res, err := s.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{
			VolumeId: "admin/d@master.db", NodeId: "n1", VolumeCapability: capability(c.mode)[0], Readonly: c.ro,
		})
		if err != nil || res.GetPublishContext()[driver.PublishContextPool] != "77" {
			t.Fatalf("got %v, %v", res, err)
		}
		want := &dotmeshv1.PublishVolumeRequest{Volume: "admin/d@master.db", Node: "n1", ReadOnly: c.want}
		if !proto.Equal(server.asked[0], want) {
			t.Errorf("asked %v, want %v", server.asked[0], want)
		}
	}
	s, server, _ := fixture()
	if _, err := s.ControllerUnpublishVolume(t.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: volumeID}); err != nil {
		t.Fatal(err)
	}
	if want := (&dotmeshv1.UnpublishVolumeRequest{Volume: volumeID}); !proto.Equal(server.asked[0], want) {
		t.Errorf("asked %v, want %v", server.asked[0], want)
	}
}

func TestListAndGetTellPublications(t *testing.T) {
	s, server, _ := fixture()
	list, err := s.ListVolumes(t.Context(), &csi.ListVolumesRequest{MaxEntries: 1, StartingToken: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if want := (&dotmeshv1.ListVolumesRequest{MaxEntries: 1, StartingToken: "t"}); !proto.Equal(server.asked[0], want) {
		t.Errorf("asked %v, want %v", server.asked[0], want)
	}
	e := list.GetEntries()[0]
	if list.GetNextToken() != "more" || e.GetVolume().GetVolumeId() != volumeID || !slices.Equal(e.GetStatus().GetPublishedNodeIds(), []string{"n1"}) {
		t.Errorf("got %v", list)
	}
	one, err := s.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: volumeID})
	if err != nil || !proto.Equal(one.GetVolume(), e.GetVolume()) || !slices.Equal(one.GetStatus().GetPublishedNodeIds(), []string{"n1"}) {
		t.Errorf("got %v, %v", one, err)
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		mode     csi.VolumeCapability_AccessMode_Mode
		readOnly bool
		params   map[string]string
		ok       bool
	}{
		"writer":                {mode: writer, ok: true},
		"readers of a writable": {mode: readers},
		"readers":               {mode: readers, readOnly: true, ok: true},
		"many writers":          {mode: csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
		"unknown parameter":     {mode: writer, params: map[string]string{"x": "y"}},
	} {
		s, server, _ := fixture()
		server.volume.ReadOnly = c.readOnly
		res, err := s.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{
			VolumeId: volumeID, VolumeCapabilities: capability(c.mode), Parameters: c.params,
		})
		if err != nil || (res.GetConfirmed() != nil) != c.ok || (res.GetMessage() == "") != c.ok {
			t.Errorf("%s: got %v, %v, want confirmed %v", name, res, err, c.ok)
		}
	}
}

func TestGetCapacity(t *testing.T) {
	at := func(segments map[string]string) *csi.Topology { return &csi.Topology{Segments: segments} }
	for name, c := range map[string]struct {
		req   *csi.GetCapacityRequest
		node  string
		asked bool
	}{
		"all":   {req: &csi.GetCapacityRequest{}, asked: true},
		"node":  {req: &csi.GetCapacityRequest{AccessibleTopology: at(map[string]string{driver.TopologyNode: "n1", driver.TopologyCluster: "c1"})}, node: "n1", asked: true},
		"other": {req: &csi.GetCapacityRequest{AccessibleTopology: at(map[string]string{driver.TopologyCluster: "c2"})}},
		"RWX":   {req: &csi.GetCapacityRequest{VolumeCapabilities: capability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)}},
	} {
		s, server, _ := fixture()
		res, err := s.GetCapacity(t.Context(), c.req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !c.asked {
			if len(server.asked) > 0 || res.GetAvailableCapacity() != 0 {
				t.Errorf("%s: got %v, want nothing", name, res)
			}
			continue
		}
		if want := (&dotmeshv1.GetCapacityRequest{Node: c.node}); !proto.Equal(server.asked[0], want) {
			t.Errorf("%s: asked %v, want %v", name, server.asked[0], want)
		}
		if res.GetAvailableCapacity() != 5<<30 || res.GetMaximumVolumeSize().GetValue() != 4<<30 {
			t.Errorf("%s: got %v", name, res)
		}
	}
}

func TestExpand(t *testing.T) {
	s, server, _ := fixture()
	res, err := s.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{
		VolumeId: volumeID, CapacityRange: &csi.CapacityRange{RequiredBytes: 2 << 30, LimitBytes: 3 << 30},
	})
	if err != nil || res.GetCapacityBytes() != 2<<30 || !res.GetNodeExpansionRequired() {
		t.Errorf("got %v, %v", res, err)
	}
	if want := (&dotmeshv1.ExpandVolumeRequest{Volume: volumeID, RequiredBytes: 2 << 30, LimitBytes: 3 << 30}); !proto.Equal(server.asked[0], want) {
		t.Errorf("asked %v, want %v", server.asked[0], want)
	}
	if _, err := s.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{VolumeId: volumeID}); dot.CodeOf(err) != dot.CodeInvalid {
		t.Errorf("without a size: got %v, want invalid", err)
	}
}

func TestCreateSnapshotCarriesTheVolumeSnapshot(t *testing.T) {
	params := map[string]string{keySnapshotName: "s1", keySnapshotNamespace: "kube", keySnapshotContent: "content"}
	metadata := map[string]string{"kubernetes.volumesnapshot": "s1", "kubernetes.namespace": "kube", "kubernetes.volumesnapshotcontent": "content"}
	for name, c := range map[string]struct {
		change  func(*fakeKube)
		message string
		code    dot.Code // 0: none
	}{
		"message":    {change: func(k *fakeKube) { k.snapshot.Annotations = map[string]string{annotationMessage: "before the upgrade"} }, message: "before the upgrade"},
		"no message": {change: func(*fakeKube) {}},
		"gone":       {change: func(k *fakeKube) { k.err = dot.NotFound("gone") }},
		"made anew": {change: func(k *fakeKube) {
			k.snapshot = Object{UID: "x", Annotations: map[string]string{annotationMessage: "m"}}
		}},
		"too long": {change: func(k *fakeKube) {
			k.snapshot.Annotations = map[string]string{annotationMessage: strings.Repeat("m", 9000)}
		}, code: dot.CodeInvalid},
		"away": {change: func(k *fakeKube) { k.err = dot.Unavailable("away") }, code: dot.CodeUnavailable},
	} {
		s, server, kube := fixture()
		c.change(kube)
		res, err := s.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: snapName, SourceVolumeId: volumeID, Parameters: params})
		if c.code != 0 {
			if dot.CodeOf(err) != c.code || len(server.asked) > 0 {
				t.Errorf("%s: got %v, want code %d", name, err, c.code)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := &dotmeshv1.CreateSnapshotRequest{CsiName: snapName, Volume: volumeID, Message: c.message, Metadata: metadata}
		if !proto.Equal(server.asked[0], want) {
			t.Errorf("%s: asked %v, want %v", name, server.asked[0], want)
		}
		if got := res.GetSnapshot(); got.GetSnapshotId() != snapshotID || got.GetSourceVolumeId() != volumeID || !got.GetReadyToUse() || got.GetCreationTime() == nil {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestListSnapshots(t *testing.T) {
	for name, c := range map[string]struct {
		req   *csi.ListSnapshotsRequest
		err   error
		count int
		token string
	}{
		"all":                 {req: &csi.ListSnapshotsRequest{}, count: 1, token: "more"},
		"one":                 {req: &csi.ListSnapshotsRequest{SnapshotId: snapshotID}, count: 1},
		"one of its volume":   {req: &csi.ListSnapshotsRequest{SnapshotId: snapshotID, SourceVolumeId: volumeID}, count: 1},
		"one of another":      {req: &csi.ListSnapshotsRequest{SnapshotId: snapshotID, SourceVolumeId: "other"}},
		"unknown":             {req: &csi.ListSnapshotsRequest{SnapshotId: snapshotID}, err: dot.NotFound("no")},
		"that cannot be":      {req: &csi.ListSnapshotsRequest{SnapshotId: "none-exist-id"}},
		"of an unknown":       {req: &csi.ListSnapshotsRequest{SourceVolumeId: volumeID}, err: dot.NotFound("no")},
		"of one cannot be":    {req: &csi.ListSnapshotsRequest{SourceVolumeId: "none-exist-id"}},
		"of a volume, listed": {req: &csi.ListSnapshotsRequest{SourceVolumeId: volumeID}, count: 1, token: "more"},
	} {
		s, server, _ := fixture()
		server.err = c.err
		res, err := s.ListSnapshots(t.Context(), c.req)
		if err != nil || len(res.GetEntries()) != c.count || res.GetNextToken() != c.token {
			t.Errorf("%s: got %v, %v, want %d", name, res, err, c.count)
		}
	}
	s, server, _ := fixture()
	server.err = dot.Errorf(dot.CodeAborted, "bad token")
	if _, err := s.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{StartingToken: "x"}); dot.CodeOf(err) != dot.CodeAborted {
		t.Errorf("a bad token: got %v, want aborted", err)
	}
}

func TestConfig(t *testing.T) {
	server := &fakeServer{}
	var status dotmeshv1connect.ServerServiceClient = struct {
		dotmeshv1connect.ServerServiceClient
	}{}
	good := Config{Socket: "/csi.sock", ClusterName: "c", Volumes: server, Server: status}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"relative socket": func(c *Config) { c.Socket = "csi.sock" },
		"no server":       func(c *Config) { c.Volumes = nil },
		"no cluster":      func(c *Config) { c.ClusterName = "" },
	} {
		bad := good
		change(&bad)
		if _, err := New(bad); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
