//go:build apiserver

package etcd

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// TestScaled: a StatefulSet that somebody scales, or deletes, gets back a pod for each
// member and no other, and takes over those that are there.
func TestScaled(t *testing.T) {
	w := newWorld(t, map[string]string{})
	for _, node := range []string{"a", "b", "c"} {
		w.addNode(node)
	}
	three := w.members("a", "b", "c")
	w.until("three", three)

	t.Log("scaled to one")
	w.scale(1)
	for end := time.Now().Add(time.Minute); len(w.pods()) > 1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d pods are left", len(w.pods()))
		}
		w.kubelet()
	}
	w.until("three again", three)

	t.Log("scaled to five")
	w.scale(5)
	for end := time.Now().Add(time.Minute); len(w.pods()) < 5; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("there are %d pods", len(w.pods()))
		}
	}
	w.until("three of five", func() bool { return three() && len(w.pods()) == 3 })

	t.Log("deleted with --cascade=orphan")
	before := w.uids()
	for _, p := range w.pods() {
		p.OwnerReferences = nil
		if err := w.direct.Update(t.Context(), &p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.direct.Delete(t.Context(), w.set()); err != nil {
		t.Fatal(err)
	}
	w.until("adopted", func() bool {
		for _, p := range w.pods() {
			if metav1.GetControllerOf(&p) == nil {
				return false
			}
		}
		return three()
	})
	for ordinal, uid := range w.uids() {
		if uid != before[ordinal] {
			t.Errorf("%s was made anew", podName(ordinal))
		}
	}
}

// TestOnlyMemberIsTheSecond: one that moved from node to node is alone, so that it can be
// drained and rolled as it was before, and others come beside it again.
func TestOnlyMemberIsTheSecond(t *testing.T) {
	w := newWorld(t, map[string]string{})
	w.addNode("z")
	w.until("one node", w.members("z"))
	w.addNode("a")
	w.patchNode("z", func(n *corev1.Node) { n.Spec.Unschedulable = true })
	w.until("moved", w.members("a"))
	w.until("one pod, which may go", func() bool {
		var budget policyv1.PodDisruptionBudget
		if err := w.get(t.Context(), Name, &budget); err != nil {
			t.Fatal(err)
		}
		pods := w.pods()
		return len(pods) == 1 && w.ordinal(pods[0]) == 1 && budget.Status.DisruptionsAllowed == 1 && budget.Status.ExpectedPods == 1
	})
	w.Spec.Image = "etcd:2"
	w.until("rolled", func() bool {
		pods := w.pods()
		return w.etcd.well() == 1 && len(pods) == 1 && pods[0].Spec.Containers[0].Image == "etcd:2"
	})
	w.addNode("b")
	w.addNode("c")
	w.until("three nodes", w.members("a", "b", "c"))
	if err := w.direct.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pki.SecretEtcdClient}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Reconcile(t.Context(), reconcile.Request{}); err == nil {
		t.Error("etcd was asked without a certificate")
	}
	if got := gauges(t, w.registry); got["dotmesh_operator_etcd_members"] != 3 || got["dotmesh_operator_etcd_members_healthy"] != 0 {
		t.Errorf("nobody asked etcd, and it is said to be %v", got)
	}
	if kept := ordinalsKept(w.set()); kept != (Ordinals{0, 3}) {
		t.Errorf("the StatefulSet keeps %v", kept)
	}
}

func (w *world) scale(replicas int32) {
	w.t.Helper()
	set := w.set()
	seen := client.MergeFrom(set.DeepCopy())
	set.Spec.Replicas = &replicas
	if err := w.direct.Patch(w.t.Context(), set, seen); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) set() *appsv1.StatefulSet {
	w.t.Helper()
	var set appsv1.StatefulSet
	if err := w.get(w.t.Context(), Name, &set); err != nil {
		w.t.Fatal(err)
	}
	return &set
}

func (w *world) uids() map[int]types.UID {
	w.t.Helper()
	all := map[int]types.UID{}
	for _, p := range w.pods() {
		all[w.ordinal(p)] = p.UID
	}
	return all
}
