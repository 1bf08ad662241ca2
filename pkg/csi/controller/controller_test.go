package controller

import (
	"slices"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

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
