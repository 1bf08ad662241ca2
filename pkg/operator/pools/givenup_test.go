//go:build apiserver

package pools_test

import (
	"slices"
	"testing"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// givenUpInError has a person run the command of an Event that holds no more: the pool is
// served and used.
func givenUpInError(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	w.inUse["a"] = true
	w.cordon("a")
	for _, annotation := range []string{specs.AnnotationGivenUp, specs.AnnotationReleased} {
		p := w.pvc(pvc)
		p.Annotations[annotation] = "1"
		w.must(w.client.Update(t.Context(), p))
		w.done = nil
		w.settle()
		w.wantServing(map[string][]string{"a": {pvc}})
		if is, found := w.pvc(pvc).Annotations[annotation]; found {
			t.Errorf("annotation %s is %s still", annotation, is)
		}
		if !slices.Contains(w.done, "pools.mark-imported.after") {
			t.Errorf("%s: only %v was done", annotation, w.done)
		}
	}
	w.wantEvent("PersistentVolumeClaim "+pvc, "PoolImported")
	w.inUse["a"] = false
}

// givenUpWhileAttached has a person give a pool up whose server never told of it, on a node
// where pods may use dots: that waits for them.
func givenUpWhileAttached(t *testing.T, w *world) {
	w.badImages[w.image] = true
	w.addNode("a", "")
	w.pass(5 * step)
	pvc := w.assigned()["a"]
	volume := "of-a-dot"
	used := &storagev1.VolumeAttachment{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "dots-"},
		Spec:       storagev1.VolumeAttachmentSpec{Attacher: specs.DriverName, NodeName: "a", Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &volume}},
	}
	w.must(w.client.Create(t.Context(), used))
	w.cordon("a")
	p := w.pvc(pvc)
	p.Annotations[specs.AnnotationGivenUp] = "1"
	w.must(w.client.Update(t.Context(), p))
	w.pass(15 * time.Minute)
	if got := w.assigned()["a"]; got != pvc {
		t.Errorf("node a has %q, want %s", got, pvc)
	}
	w.wantEvent("PersistentVolumeClaim "+pvc, "GivenUpWaits", "volumes of dotmesh are attached")
	w.must(w.client.Delete(t.Context(), used))
	w.pass(2 * time.Minute)
	if got := w.assigned(); len(got) > 0 {
		t.Errorf("nodes have %v still", got)
	}
}
