package controller

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	"k8s.io/client-go/rest"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// The API server of these tests is a handler with fixed answers.
func TestKubernetesReadsOneObject(t *testing.T) {
	var asked []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.String())
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/api/v1/namespaces/kube/persistentvolumeclaims/claim":
			_, _ = w.Write([]byte(`{"kind":"PersistentVolumeClaim","apiVersion":"v1","metadata":{"uid":"u1","annotations":{"dotmeshName":"d"}}}`))
		case "/apis/snapshot.storage.k8s.io/v1/namespaces/kube/volumesnapshots/snap":
			_, _ = w.Write([]byte(`{"kind":"VolumeSnapshot","apiVersion":"snapshot.storage.k8s.io/v1","metadata":{"uid":"u2","annotations":{"dotmesh.csi/message":"m"}}}`))
		case "/api/v1/namespaces/kube/persistentvolumeclaims/forbidden":
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`))
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`))
		}
	}))
	defer api.Close()
	k, err := NewKubernetes(&rest.Config{Host: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	pvc, err := k.PersistentVolumeClaim(t.Context(), "kube", "claim")
	if err != nil || pvc.UID != "u1" || pvc.Annotations["dotmeshName"] != "d" {
		t.Errorf("got %+v, %v", pvc, err)
	}
	snap, err := k.VolumeSnapshot(t.Context(), "kube", "snap")
	if err != nil || snap.UID != "u2" || snap.Annotations[annotationMessage] != "m" {
		t.Errorf("got %+v, %v", snap, err)
	}
	if len(asked) != 2 {
		t.Errorf("asked %q, want one GET each", asked)
	}
	if _, err := k.PersistentVolumeClaim(t.Context(), "kube", "gone"); dot.CodeOf(err) != dot.CodeNotFound || err == nil {
		t.Errorf("gone: got %v", err)
	}
	if _, err := k.PersistentVolumeClaim(t.Context(), "kube", "forbidden"); dot.CodeOf(err) != dot.CodeUnavailable {
		t.Errorf("forbidden: got %v", err)
	}
	api.Close()
	if _, err := k.VolumeSnapshot(t.Context(), "kube", "snap"); dot.CodeOf(err) != dot.CodeUnavailable {
		t.Errorf("away: got %v", err)
	}
}

// A PVC can be deleted while its volume is being made, with the provisioner
// asking on: see begun.
func TestCreateVolumeOfAPVCThatIsGone(t *testing.T) {
	for name, gone := range map[string]func(*fakeKube){
		"deleted": func(k *fakeKube) { k.err = dot.NotFound("gone") },
		"made again": func(k *fakeKube) {
			k.pvc = Object{UID: "another", Annotations: map[string]string{"dotmeshName": "other"}}
		},
	} {
		request := &csi.CreateVolumeRequest{Name: csiName, VolumeCapabilities: capability(writer), Parameters: claim()}
		read := &dotmeshv1.GetVolumeRequest{Volume: dot.VolumeIDOf(csiName).String()}

		s, server, kube := fixture()
		gone(kube)
		server.volume.Dot, server.volume.Branch, server.volume.Subdot = "team/d", "dev", "__root__"
		res, err := s.CreateVolume(t.Context(), request)
		if err != nil || res.GetVolume().GetVolumeId() != volumeID {
			t.Fatalf("%s, begun: got %v, %v, want the volume", name, res, err)
		}
		goesOn := &dotmeshv1.CreateVolumeRequest{
			CsiName: csiName, KubernetesNamespace: "kube", PvcName: "claim",
			DotNamespace: "team", DotName: "d", Subdot: "__root__", Branch: "dev",
		}
		if len(server.asked) != 2 || !proto.Equal(server.asked[0], read) || !proto.Equal(server.asked[1], goesOn) {
			t.Errorf("%s, begun: asked %v, want %v and %v", name, server.asked, read, goesOn)
		}

		for what, c := range map[string]struct {
			err  error
			want dot.Code
		}{
			"not begun":      {dot.NotFound("no volume"), dot.CodePrecondition},
			"server is away": {dot.Unavailable("away"), dot.CodeUnavailable},
			"server fails":   {dot.Errorf(dot.CodeInternal, "a fault"), dot.CodeUnavailable},
		} {
			s, server, kube := fixture()
			gone(kube)
			server.err = c.err
			_, err := s.CreateVolume(t.Context(), request)
			if err == nil || dot.CodeOf(err) != c.want {
				t.Errorf("%s, %s: got code %d, %v, want code %d", name, what, dot.CodeOf(err), err, c.want)
			}
			if len(server.asked) != 1 || !proto.Equal(server.asked[0], read) {
				t.Errorf("%s, %s: asked %v, want only whether there is a volume", name, what, server.asked)
			}
		}
	}
}
