//go:build apiserver

package pools_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// giveUp is a person's leave to delete a PVC.
func (w *world) giveUp(pvc string) {
	w.Helper()
	p := w.pvc(pvc)
	p.Annotations[specs.AnnotationDelete] = specs.True
	w.must(w.client.Update(w.Context(), p))
}

// wantGone wants no PVC of that UID.
func (w *world) wantGone(was *corev1.PersistentVolumeClaim) {
	w.Helper()
	var is corev1.PersistentVolumeClaim
	err := w.client.Get(w.Context(), client.ObjectKeyFromObject(was), &is)
	if err == nil && is.UID == was.UID {
		w.Errorf("%s is there still, with annotations %v", was.Name, is.Annotations)
	} else if err != nil && !apierrors.IsNotFound(err) {
		w.Fatal(err)
	}
}

// pvcMayBeDeleted has a person allow what the operator then does, once nothing uses the
// pool and its node is to have it no more.
func pvcMayBeDeleted(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	was := w.pvc(w.assigned()["a"])
	w.giveUp(was.Name)
	w.settle()
	w.inUse["a"] = true
	w.cordon("a")
	w.pass(5 * time.Minute)
	w.wantServing(map[string][]string{"a": {was.Name}})
	w.inUse["a"] = false
	w.settle()
	w.wantGone(was)
	w.wantServing(nil)
	w.uncordon("a")
	w.settle()
	if len(w.pvcs()) != 1 || len(w.serving()["a"]) != 1 {
		t.Errorf("nodes serve %v of %d PVCs, want a new one", w.serving(), len(w.pvcs()))
	}
}

// pvcIsDeletedWithLeave has a person delete a PVC under its pool: it is kept until nothing
// uses the pool, and without leave for as long as it is not given.
func pvcIsDeletedWithLeave(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	was := w.pvc(w.assigned()["a"])
	w.must(w.client.Delete(t.Context(), was))
	w.pass(5 * time.Minute)
	w.wantServing(map[string][]string{"a": {was.Name}})
	w.wantEvent("PersistentVolumeClaim "+was.Name, "BeingDeleted", specs.AnnotationDelete+"=true")
	w.inUse["a"] = true
	w.giveUp(was.Name)
	w.pass(5 * time.Minute)
	w.wantServing(map[string][]string{"a": {was.Name}})
	w.inUse["a"] = false
	w.settle()
	w.wantGone(was)
	if len(w.pvcs()) != 1 || len(w.serving()["a"]) != 1 {
		t.Errorf("nodes serve %v of %d PVCs, want a new one", w.serving(), len(w.pvcs()))
	}
}
