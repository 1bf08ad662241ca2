package controller

import (
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

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
