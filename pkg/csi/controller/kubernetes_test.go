package controller

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/rest"

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
