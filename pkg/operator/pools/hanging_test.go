//go:build apiserver

package pools_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// podThatHangs has somebody's finalizer keep a server that was released: a person is told,
// a node that joins does not wait for the PVC, and it is free when the pod has gone.
func podThatHangs(t *testing.T, w *world) {
	const finalizer = "example.com/hold"
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	hold := func(by ...string) {
		for _, pod := range w.pods(specs.ComponentServer) {
			if pod.Spec.NodeName == "a" {
				pod.Finalizers = by
				w.must(w.client.Update(t.Context(), &pod))
			}
		}
	}
	hold(finalizer)
	w.cordon("a")
	w.pass(12 * time.Minute)
	w.wantEvent("PersistentVolumeClaim "+pvc, "PodStuck", w.pods(specs.ComponentServer)[0].Name, finalizer)
	w.addNode("b", "")
	w.pass(time.Minute)
	if got := w.assigned(); got["a"] != pvc || got["b"] == "" || got["b"] == pvc {
		t.Errorf("assigned: %v, want %s for a and another for b", got, pvc)
	}
	hold()
	w.changeNode("a", func(n *corev1.Node) { n.Spec.Unschedulable = false })
	w.settle()
	w.wantServing(map[string][]string{"a": {pvc}, "b": {w.assigned()["b"]}})
}
