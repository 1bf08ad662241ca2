//go:build apiserver

package etcd

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
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
