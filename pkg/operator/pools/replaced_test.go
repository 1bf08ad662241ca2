//go:build apiserver

package pools_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// replacedUnderItsName has the cloud put another machine in the place of one that died
// with its pool in use, before anybody looked: the name is the same, and nothing else.
func replacedUnderItsName(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	first := w.node("a").UID
	if got := w.pvc(pvc).Annotations[specs.AnnotationNodeUID]; got != string(first) {
		t.Errorf("the PVC is assigned to a node of UID %q, want %s", got, first)
	}
	old := w.pods(specs.ComponentHolder)[0].UID
	w.inUse["a"] = true
	w.replaceMachine("a")
	w.inUse["a"] = false
	w.pass(2 * time.Minute)
	w.settle()
	w.wantServing(map[string][]string{"a": {pvc}})
	p, d := w.pvc(pvc), w.disks[string(w.pvc(pvc).UID)]
	if p.Annotations[specs.AnnotationGeneration] != "2" || p.Annotations[specs.AnnotationNodeUID] != string(w.node("a").UID) || len(w.pvcs()) != 1 {
		t.Errorf("%d PVCs, with annotations %v; want generation 2 of one, of node %s", len(w.pvcs()), p.Annotations, w.node("a").UID)
	}
	if d.generation != 2 || d.host != w.host("a") {
		t.Errorf("generation %d was imported last, by machine %s", d.generation, d.host)
	}
	if holders := w.pods(specs.ComponentHolder); len(holders) != 1 || holders[0].UID == old {
		t.Error("the holder of the machine that is gone is there still")
	}
	if w.node("a").Labels[specs.LabelServer] != specs.True {
		t.Error("the new node has no label")
	}
}

// registeredAnew has somebody delete a node, whose machine goes on and registers again
// before anybody looked: nothing may be taken from its pods.
func registeredAnew(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	w.inUse["a"] = true
	pods := append(w.pods(specs.ComponentHolder), w.pods(specs.ComponentServer)...)
	w.must(w.client.Delete(t.Context(), w.node("a")))
	time.Sleep(1100 * time.Millisecond)
	w.now = time.Now()
	w.addNode("a", "")
	w.pass(5 * time.Minute)
	w.wantServing(map[string][]string{"a": {pvc}})
	for _, pod := range pods {
		var now corev1.Pod
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(&pod), &now); err != nil || now.UID != pod.UID {
			t.Errorf("pod %s is another one, or gone: %v", pod.Name, err)
		}
	}
	if p := w.pvc(pvc); p.Annotations[specs.AnnotationGeneration] != "1" || p.Annotations[specs.AnnotationNodeUID] != string(w.node("a").UID) {
		t.Errorf("the PVC's annotations are %v, want generation 1 of node %s", p.Annotations, w.node("a").UID)
	}
}

// assignedBeforeUIDs has a PVC that an operator assigned which kept no UID of the node.
func assignedBeforeUIDs(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	server := w.pods(specs.ComponentServer)[0].UID
	p := w.pvc(pvc)
	delete(p.Annotations, specs.AnnotationNodeUID)
	w.must(w.client.Update(t.Context(), p))
	w.inUse["a"] = true
	w.settle()
	w.wantServing(map[string][]string{"a": {pvc}})
	p = w.pvc(pvc)
	if p.Annotations[specs.AnnotationNodeUID] != string(w.node("a").UID) || p.Annotations[specs.AnnotationGeneration] != "1" {
		t.Errorf("the PVC's annotations are %v, want generation 1 of node %s", p.Annotations, w.node("a").UID)
	}
	if got := w.pods(specs.ComponentServer)[0].UID; got != server {
		t.Error("the server was disturbed")
	}
}

// localReplaced has a machine replaced whose pool lay on its own disk: its successor
// begins with a pool of its own.
func localReplaced(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	w.replaceMachine("a")
	delete(w.disks, "local-a")
	server := w.pods(specs.ComponentServer)[0]
	w.importPool(&server) // its kubelet has the pod run again
	w.settle()
	w.wantServing(map[string][]string{"a": {""}})
	if w.node("a").Labels[specs.LabelServer] != specs.True {
		t.Error("the new node has no label")
	}
}
