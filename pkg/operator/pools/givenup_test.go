//go:build apiserver

package pools_test

import (
	"slices"
	"testing"

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
