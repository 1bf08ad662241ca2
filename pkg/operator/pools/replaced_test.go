//go:build apiserver

package pools_test

import (
	"context"
	"slices"
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
	w.registerAnew("a")
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

// registeredAnewUnheard has the same while the node's server is replaced, and etcd away for
// so long that the next one says nothing: the kernel has the pool imported all the while.
func registeredAnewUnheard(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc, boot := w.assigned()["a"], w.node("a").Status.NodeInfo.BootID
	w.inUse["a"], w.noEtcd = true, true
	holder := w.pods(specs.ComponentHolder)[0].UID
	w.must(w.client.Delete(t.Context(), &w.pods(specs.ComponentServer)[0]))
	w.registerAnew("a")
	w.pass(5 * time.Minute)
	p := w.pvc(pvc)
	if p.Annotations[specs.AnnotationGeneration] != "1" || p.Annotations[specs.AnnotationNodeUID] != string(w.node("a").UID) || p.Annotations[specs.AnnotationNodeBoot] != boot {
		t.Errorf("the PVC's annotations are %v, want generation 1 of node %s, boot %s", p.Annotations, w.node("a").UID, boot)
	}
	w.noEtcd = false
	w.importPool(&w.pods(specs.ComponentServer)[0])
	w.settle()
	w.wantServing(map[string][]string{"a": {pvc}})
	if holders := w.pods(specs.ComponentHolder); len(holders) != 1 || holders[0].UID != holder {
		t.Error("the holder is another one, or gone")
	}
}

// registeredAnewBehind has an operator whose cache has the earlier node of the name yet:
// were that recorded, the present one would be another machine.
func registeredAnewBehind(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc, old := w.assigned()["a"], w.node("a")
	w.registerAnew("a")
	w.settle()
	w.cache, w.done = behind{w.client, *old}, nil
	w.restart()
	w.round()
	if p := w.pvc(pvc); p.Annotations[specs.AnnotationNodeUID] != string(w.node("a").UID) {
		t.Errorf("the PVC is assigned to node %s, want %s", p.Annotations[specs.AnnotationNodeUID], w.node("a").UID)
	}
	if !slices.Contains(w.done, "pools.record-node.after") {
		t.Errorf("only %v was done", w.done)
	}
}

// behind is a cache that has a node as it was.
type behind struct {
	client.Client
	node corev1.Node
}

func (b behind) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if nodes, ok := list.(*corev1.NodeList); ok {
		nodes.Items = []corev1.Node{b.node}
		return nil
	}
	return b.Client.List(ctx, list, opts...)
}

// awayForAWhile has somebody delete a node, whose machine goes on and registers again only
// after Kubernetes has deleted its pods. A node that joins meanwhile waits, and does not get
// the PVC.
func awayForAWhile(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	w.inUse["a"] = true
	w.must(w.client.Delete(t.Context(), w.node("a")))
	w.addNode("b", "")
	for away := time.Duration(0); away < 110*time.Second; away += step {
		if away == 40*time.Second { // PodGC
			for _, pod := range append(w.pods(specs.ComponentHolder), w.pods(specs.ComponentServer)...) {
				w.must(w.client.Delete(t.Context(), &pod, client.GracePeriodSeconds(0)))
			}
		}
		w.round()
		w.now = w.now.Add(step)
	}
	if got := w.assigned(); got["a"] != pvc || len(w.pvcs()) != 1 {
		t.Errorf("assigned: %v, of %d PVCs; want %s, for a", got, len(w.pvcs()), pvc)
	}
	w.addNode("a", "")
	for range 5 { // until the holder is there, kubelet has the disk in use
		w.round()
	}
	w.settle()
	w.wantServing(map[string][]string{"a": {pvc}, "b": {w.assigned()["b"]}})
	if p := w.pvc(pvc); p.Annotations[specs.AnnotationGeneration] != "1" || p.Annotations[specs.AnnotationNodeUID] != string(w.node("a").UID) {
		t.Errorf("the PVC's annotations are %v, want generation 1 of node %s", p.Annotations, w.node("a").UID)
	}
}

// registerAnew has somebody delete a node, whose machine goes on and registers again.
func (w *world) registerAnew(name string) {
	w.Helper()
	w.deleteNode(name)
	w.now = time.Now()
	w.addNode(name, "")
}

// assignedBeforeUIDs has a PVC that an operator assigned which kept no UID of the node.
func assignedBeforeUIDs(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	server := w.pods(specs.ComponentServer)[0].UID
	p := w.pvc(pvc)
	for _, key := range []string{specs.AnnotationNodeUID, specs.AnnotationNodeBoot, specs.AnnotationNodeSystem} {
		delete(p.Annotations, key)
	}
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

// localAwayForAWhile has the same of a pool in a file of the node, whose server goes on.
func localAwayForAWhile(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	server := w.pods(specs.ComponentServer)[0].UID
	w.must(w.client.Delete(t.Context(), w.node("a")))
	for range 11 {
		w.round()
		w.now = w.now.Add(step)
	}
	w.addNode("a", "")
	w.settle()
	w.wantServing(map[string][]string{"a": {""}})
	if got := w.pods(specs.ComponentServer)[0].UID; got != server {
		t.Error("the server was disturbed")
	}
	if w.node("a").Labels[specs.LabelServer] != specs.True {
		t.Error("the new node has no label")
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
