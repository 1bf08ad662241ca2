package controller

import (
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

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
