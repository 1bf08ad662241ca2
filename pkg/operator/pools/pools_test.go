//go:build apiserver

package pools_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/test/apiserver"
)

var perNode = map[string]string{"storageMode": "pvcPerNode"}

// TestPools has all its cases on one API server, one after another: they share its
// nodes.
func TestPools(t *testing.T) {
	ctrl.SetLogger(klog.Background())
	api := apiserver.Start(t)
	c, err := client.New(api.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	standard(t, c)
	for _, test := range []struct {
		name   string
		config map[string]string
		run    func(*testing.T, *world)
	}{
		{"Local", nil, local},
		{"NodesComeAndGo", perNode, nodesComeAndGo},
		{"InUseIsNeverReleased", perNode, inUseIsNeverReleased},
		{"HeldWhenReleased", perNode, heldWhenReleased},
		{"ServerPodsMayGo", perNode, serverPodsMayGo},
		{"Drain", perNode, drain},
		{"Zones", perNode, zones},
		{"LongNames", perNode, longNames},
		{"PVCBeingDeleted", perNode, pvcBeingDeleted},
		{"PVCMayBeDeleted", perNode, pvcMayBeDeleted},
		{"PVCIsDeletedWithLeave", perNode, pvcIsDeletedWithLeave},
		{"DeletedNode", perNode, deletedNode},
		{"OutOfService", perNode, outOfService},
		{"DeadNoMore", perNode, deadNoMore},
		{"Wanted", perNode, wanted},
		{"ReplacedUnderItsName", perNode, replacedUnderItsName},
		{"RegisteredAnew", perNode, registeredAnew},
		{"RegisteredAnewUnheard", perNode, registeredAnewUnheard},
		{"RegisteredAnewBehind", perNode, registeredAnewBehind},
		{"AwayForAWhile", perNode, awayForAWhile},
		{"LocalAwayForAWhile", nil, localAwayForAWhile},
		{"AssignedBeforeUIDs", perNode, assignedBeforeUIDs},
		{"GivenUpInError", perNode, givenUpInError},
		{"GivenUpWhileAttached", perNode, givenUpWhileAttached},
		{"PodThatHangs", perNode, podThatHangs},
		{"NameOfAServerIsTaken", nil, nameOfAServerIsTaken},
		{"NamesAreTaken", perNode, namesAreTaken},
		{"LocalReplaced", nil, localReplaced},
		{"TwoOperators", perNode, twoOperators},
		{"SizesGrow", perNode, sizesGrow},
		{"CannotGrow", fixedSize("10G"), cannotGrow},
		{"OwnStorageClass", map[string]string{"storageMode": "pvcPerNode", "pvcPerNode.storageClass": "fast-dots"}, ownStorageClass},
		{"NewPVCsOnly", perNode, newPVCsOnly},
		{"AtOnce", perNode, atOnce},
		{"AtOnceLocal", nil, atOnce},
		{"Selector", perNode, selector},
		{"RolloutStops", perNode, rolloutStops},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newWorld(t, api, c, test.config)) })
	}
	for _, story := range []struct {
		name string
		tell func(*testing.T, *world, func())
	}{{"Adoption", adoption}, {"TakeOver", takeOver}, {"Deletion", deletion}} {
		t.Run("KilledAtEachStepOf"+story.name, func(t *testing.T) { killedAtEachStep(t, api, c, story.tell) })
	}
}

func local(t *testing.T, w *world) {
	w.addNode("a", "z")
	w.addNode("b", "")
	w.settle()
	w.wantServing(map[string][]string{"a": {""}, "b": {""}})
	for _, pod := range w.pods(specs.ComponentServer) {
		if want := "server-" + pod.Spec.NodeName; pod.Name != want {
			t.Errorf("pod %s, want %s", pod.Name, want)
		}
		if zone := arguments(&pod)["--zone"]; (zone == "z") != (pod.Spec.NodeName == "a") {
			t.Errorf("pod %s is told zone %q", pod.Name, zone)
		}
		if w.node(pod.Spec.NodeName).Labels[specs.LabelServer] != specs.True {
			t.Errorf("node %s has no label", pod.Spec.NodeName)
		}
	}
}

// nodesComeAndGo replaces a node by one of another name, in order.
func nodesComeAndGo(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	w.wantServing(map[string][]string{"a": {pvc}})
	if holders, guards := w.pods(specs.ComponentHolder), w.guards(); len(holders) != 1 || len(guards) != 1 || holders[0].Name != guards[0] {
		t.Errorf("%d holders, budgets %v, want one each of one name", len(holders), guards)
	}
	w.cordon("a")
	w.settle()
	w.wantServing(nil)
	w.wantBare("a")
	w.addNode("b", "")
	w.settle()
	w.wantServing(map[string][]string{"b": {pvc}})
	if p := w.pvc(pvc); p.Annotations[specs.AnnotationGeneration] != "2" || len(w.pvcs()) != 1 {
		t.Errorf("the PVC's annotations are %v, and there are %d PVCs, want generation 2 of one", p.Annotations, len(w.pvcs()))
	}
}

func inUseIsNeverReleased(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	w.inUse["a"] = true
	w.cordon("a")
	w.pass(10 * time.Minute)
	w.wantServing(map[string][]string{"a": {pvc}})
	w.inUse["a"] = false
	w.pass(30 * time.Second)
	w.wantServing(map[string][]string{"a": {pvc}}) // releaseAfter is a minute
	w.settle()
	w.wantServing(nil)
}

// heldWhenReleased has somebody mount the pool in the moment before it is to be exported:
// who that is, only the refusal tells.
func heldWhenReleased(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	w.holders["a"] = []string{"agent (process 7 of pod 0d3c1f0e-0000-4000-8000-000000000001) at /host", "sh (process 8) at /mnt"}
	w.cordon("a")
	w.pass(2 * time.Minute)
	w.wantServing(map[string][]string{"a": {pvc}})
	w.wantEvent("Node a", plan.PoolInUse, "cannot be exported: it is mounted: agent (process 7 of pod 0d3c1f0e-0000-4000-8000-000000000001) at /host, sh (process 8) at /mnt. Which pod has a UID: kubectl get pods -A")
	delete(w.holders, "a")
	w.settle()
	w.wantServing(nil)
}

// serverPodsMayGo has the server's pod deleted, and fail, under a pool in use: the
// world fails the test where the disk goes.
func serverPodsMayGo(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	w.inUse["a"] = true
	server := w.pods(specs.ComponentServer)[0]
	w.must(w.client.Delete(t.Context(), &server))
	w.settle()
	w.wantServing(map[string][]string{"a": {pvc}})
	failed := w.pods(specs.ComponentServer)[0]
	if failed.UID == server.UID {
		t.Fatal("the server's pod is the old one")
	}
	failed.Status.Phase = corev1.PodFailed
	w.must(w.client.Status().Update(t.Context(), &failed))
	w.settle()
	w.wantServing(map[string][]string{"a": {pvc}})
	if p := w.pvc(pvc); p.Annotations[specs.AnnotationGeneration] != "1" {
		t.Errorf("generation %s, want the first still", p.Annotations[specs.AnnotationGeneration])
	}
}

// drain evicts as `kubectl drain` does, with the controller that keeps budgets.
func drain(t *testing.T, w *world) {
	w.api.Controllers(t, "disruption-controller")
	w.addNode("a", "")
	w.settle()
	w.inUse["a"] = true
	w.cordon("a")
	holder, server := w.pods(specs.ComponentHolder)[0], w.pods(specs.ComponentServer)[0]
	for _, pod := range []corev1.Pod{holder, server} {
		if owner := metav1.GetControllerOf(&pod); owner == nil {
			t.Errorf("%s has no controller: kubectl drain refuses it", pod.Name)
		}
	}
	var refusal error
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		refusal = w.evict(holder)
		if refusal != nil && strings.Contains(refusal.Error(), "disruption budget") && !strings.Contains(refusal.Error(), "still being processed") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the budget was not processed: %v", refusal)
		}
	}
	if !apierrors.IsTooManyRequests(refusal) {
		t.Fatalf("evicting the holder: %v, want 429", refusal)
	}
	if err := w.evict(server); err != nil {
		t.Errorf("evicting the server: %v, want that it may go", err)
	}
	w.settle()
	if got := w.serving()["a"]; len(got) != 1 {
		t.Error("the pool is in use, and no server is back")
	}
	w.inUse["a"] = false
	w.settle()
	if got := len(w.pods(specs.ComponentHolder)) + len(w.pods(specs.ComponentServer)); got != 0 {
		t.Errorf("%d pods are left, and drain goes on waiting", got)
	}
}

func (w *world) evict(pod corev1.Pod) error {
	return w.client.SubResource("eviction").Create(w.Context(), &pod, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}})
}

func zones(t *testing.T, w *world) {
	w.addNode("a", "east")
	w.settle()
	pvc := w.assigned()["a"]
	w.cordon("a")
	w.settle()
	w.addNode("west1", "west")
	w.settle()
	if got := w.assigned()["west1"]; got == pvc || got == "" {
		t.Errorf("node in zone west has %q; %s lies in zone east", got, pvc)
	}
	w.addNode("east1", "east")
	w.settle()
	if got := w.assigned()["east1"]; got != pvc {
		t.Errorf("node in zone east has %q, want the free %s", got, pvc)
	}
}

func longNames(t *testing.T, w *world) {
	long := strings.Repeat(strings.Repeat("n", 60)+".", 3)
	names := []string{long + "one", long + "two"}
	for _, name := range names {
		w.addNode(name, "")
	}
	w.settle()
	for _, name := range names {
		if len(w.serving()[name]) != 1 {
			t.Errorf("node …%s is not served", name[len(name)-3:])
		}
	}
	for _, component := range []string{specs.ComponentServer, specs.ComponentHolder} {
		for _, pod := range w.pods(component) {
			if len(pod.Name) > 63 || pod.Annotations[specs.AnnotationNodeName] != pod.Spec.NodeName {
				t.Errorf("pod %s is of node %s, by its annotation %s", pod.Name, pod.Spec.NodeName, pod.Annotations[specs.AnnotationNodeName])
			}
		}
	}
}

func pvcBeingDeleted(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	w.cordon("a")
	w.settle()
	kept := w.pvc(pvc)
	kept.Finalizers = append(kept.Finalizers, "world.test/backup")
	w.must(w.client.Update(t.Context(), kept))
	w.must(w.client.Delete(t.Context(), kept))
	if w.pvc(pvc).DeletionTimestamp == nil {
		t.Fatal("the PVC is not being deleted")
	}
	w.addNode("b", "")
	w.settle()
	if got := w.assigned()["b"]; got == pvc || got == "" {
		t.Errorf("node b has %q, want another than the one that is being deleted", got)
	}
}

// deletedNode has a machine that dies with its PVC and whose Node is deleted, and no
// spare: another node serves its pool beside its own, without a second writer.
func deletedNode(t *testing.T, w *world) {
	w.addNode("a", "")
	w.addNode("b", "")
	w.settle()
	lost, own := w.assigned()["a"], w.assigned()["b"]
	w.inUse["a"] = true
	w.cutPower("a")
	w.pass(2 * time.Minute)
	w.wantServing(map[string][]string{"b": {own}}) // nobody has said that a is off
	w.must(w.client.Delete(t.Context(), w.node("a")))
	w.pass(8 * time.Minute)
	w.settle()
	got := w.serving()["b"]
	slices.Sort(got)
	want := []string{own, lost}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("b serves %v, want %v", got, want)
	}
}

// outOfService has a machine die and come back after its PVC was given to another.
func outOfService(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	w.cutPower("a")
	w.changeNode("a", putOutOfService)
	w.addNode("b", "")
	w.settle()
	w.wantServing(map[string][]string{"b": {pvc}})
	w.off["a"] = false
	w.changeNode("a", func(n *corev1.Node) { n.Spec.Taints = nil })
	w.settle()
	if got := w.serving(); len(got["a"]) != 1 || got["a"][0] == pvc || !slices.Equal(got["b"], []string{pvc}) {
		t.Errorf("nodes serve %v, want that b keeps %s and a has another", got, pvc)
	}
}

// deadNoMore has an operator whose cache tells of a node that it is out of service, which
// it is no more: nothing is taken from it.
func deadNoMore(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	pvc, old := w.assigned()["a"], w.node("a")
	pods := append(w.pods(specs.ComponentHolder), w.pods(specs.ComponentServer)...)
	putOutOfService(old)
	w.cache, w.done = behind{w.client, *old}, nil
	w.restart()
	w.round()
	if got := len(w.pods(specs.ComponentHolder)) + len(w.pods(specs.ComponentServer)); got != len(pods) || !slices.Contains(w.done, "pools.delete-server.after") {
		t.Errorf("%d of %d pods are left after %v", got, len(pods), w.done)
	}
	for _, pod := range pods { // nothing of it is to be seen either
		w.must(w.client.Delete(t.Context(), &pod, client.GracePeriodSeconds(0)))
	}
	w.round()
	if p := w.pvc(pvc); p.Annotations[specs.AnnotationNode] != "a" || !slices.Contains(w.done, "pools.free-pvc.after") {
		t.Errorf("the PVC's annotations are %v after %v", p.Annotations, w.done)
	}
}

// wanted has pods wait for a pool whose node was only drained: another node serves it
// beside its own, and gives it back.
func wanted(t *testing.T, w *world) {
	w.addNode("a", "")
	w.addNode("b", "")
	w.settle()
	left, own := w.assigned()["a"], w.assigned()["b"]
	w.inUse["b"] = true
	w.cordon("a")
	w.settle()
	w.wantServing(map[string][]string{"b": {own}})
	w.wanted = []string{guid(string(w.pvc(left).UID))}
	w.settle()
	got, want := w.serving()["b"], []string{own, left}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || w.pvc(left).Annotations[specs.AnnotationGeneration] != "2" {
		t.Errorf("b serves %v, want %v; %s has annotations %v", got, want, left, w.pvc(left).Annotations)
	}
	w.wanted, w.inUse["b"] = nil, false
	w.uncordon("a")
	w.settle()
	if got := w.serving(); len(got["a"]) != 1 || len(got["b"]) != 1 || len(w.pvcs()) != 2 {
		t.Errorf("nodes serve %v of %d PVCs, want one each of two", got, len(w.pvcs()))
	}
}

// twoOperators has a second one act at the same time, as when a Lease has run out
// under a process that was stopped.
func twoOperators(t *testing.T, w *world) {
	other := w.operator()
	var wg sync.WaitGroup
	w.addNode("a", "")
	w.addNode("b", "")
	for range 30 {
		for _, p := range []func(context.Context) (bool, error){w.pools.Round, other.Round} {
			wg.Go(func() {
				if _, err := p(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		w.play()
		w.now = w.now.Add(step)
	}
	w.settle()
	if got := w.assigned(); len(got) != 2 || got["a"] == got["b"] || len(w.pvcs()) != 2 || len(w.pods(specs.ComponentServer)) != 2 {
		t.Errorf("assigned: %v, of %d PVCs, with %d servers; want two of each", got, len(w.pvcs()), len(w.pods(specs.ComponentServer)))
	}
	for _, pvc := range w.pvcs() {
		if pvc.Annotations[specs.AnnotationGeneration] != "1" {
			t.Errorf("%s is in generation %s, want the first", pvc.Name, pvc.Annotations[specs.AnnotationGeneration])
		}
	}
}

// ownStorageClass was made after the settings were read: they would refuse it.
func ownStorageClass(t *testing.T, w *world) {
	w.must(w.client.Create(t.Context(), &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast-dots"}, Provisioner: specs.DriverName}))
	w.addNode("a", "")
	if _, err := w.pools.Round(t.Context()); err == nil || len(w.pvcs()) > 0 {
		t.Errorf("%d PVCs of dotmesh's own class, and %v", len(w.pvcs()), err)
	}
}

func sizesGrow(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	server := w.pods(specs.ComponentServer)[0].UID
	w.configure(map[string]string{"storageMode": "pvcPerNode", "pvcPerNode.pvSizePerNode": "12G"})
	w.settle()
	size := requested(w.pvcs()[0])
	if got := size.Value(); got != 12<<30 {
		t.Errorf("the PVC asks for %d bytes", got)
	}
	if got := w.pods(specs.ComponentServer)[0].UID; got != server {
		t.Error("the server was restarted")
	}
}

func fixedSize(size string) map[string]string {
	return map[string]string{"storageMode": "pvcPerNode", "pvcPerNode.storageClass": "fixed", "pvcPerNode.pvSizePerNode": size}
}

// cannotGrow has a class whose volumes keep their size.
func cannotGrow(t *testing.T, w *world) {
	w.must(w.client.Create(t.Context(), &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fixed"}, Provisioner: "disk.test"}))
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	w.configure(fixedSize("12G"))
	w.done = nil
	again, _ := w.round()
	if again || !slices.Contains(w.done, "pools.grow-pvc.after") {
		t.Errorf("after %v there is more to do at once: %t", w.done, again)
	}
	w.wantEvent("PersistentVolumeClaim "+pvc, "CannotGrow", "cannot grow to 12Gi", "allowVolumeExpansion")
	if size := requested(*w.pvc(pvc)); size.Value() != 10<<30 {
		t.Errorf("the PVC asks for %s", size.String())
	}
	w.wantServing(map[string][]string{"a": {pvc}})
}
