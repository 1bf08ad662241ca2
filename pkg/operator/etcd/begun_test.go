//go:build apiserver

package etcd

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

// TestConfigMapIsDeleted: a power cut takes all members, and with them go the ConfigMap and
// the first's disk: no second cluster is begun there, and the others' volumes stay. When all
// was deleted, as docs/etcd.md says, one is.
func TestConfigMapIsDeleted(t *testing.T) {
	onThreeNodes(t, func(t *testing.T, w *world) {
		three := w.members("a", "b", "c")
		w.until("three", func() bool { w.provision(); return three() && w.known() == 3 })
		before := []members.ID{w.member(0), w.member(1), w.member(2)}

		for ordinal := range 3 {
			w.etcd.stop(ordinal)
		}
		disk := w.volume(*w.pod(0)).Name
		w.etcd.lose(disk)
		w.remove(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name}})
		w.steps(10)
		w.etcd.disks[disk] = before[0] // the disk is found again
		w.until("three again", three)
		for ordinal, id := range before {
			if got := w.member(ordinal); got != id {
				t.Errorf("member %d was %x, is %x", ordinal, id, got)
			}
		}

		w.giveUp()
		w.until("begun again", func() bool { w.provision(); return three() })
	})
}

// known is how many members volumes and claims tell of.
func (w *world) known() int {
	w.t.Helper()
	o, err := w.observe(w.t.Context(), mustConfig(w.t, w.data))
	if err != nil {
		w.t.Fatal(err)
	}
	return len(o.state.known())
}

func (w *world) remove(o client.Object) {
	w.t.Helper()
	if err := client.IgnoreNotFound(w.direct.Delete(w.t.Context(), o)); err != nil {
		w.t.Fatal(err)
	}
}

// giveUp deletes all that is etcd's, and its data, while there is no operator.
func (w *world) giveUp() {
	w.t.Helper()
	w.etcd.members, w.etcd.disks, w.etcd.begun = nil, map[string]members.ID{}, false
	w.remove(w.set())
	w.remove(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name}})
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var claims corev1.PersistentVolumeClaimList
		if err := w.direct.List(w.t.Context(), &claims, client.InNamespace(namespace)); err != nil {
			w.t.Fatal(err)
		}
		pods, volumes := w.pods(), w.volumes()
		left := len(pods) + len(claims.Items) + len(volumes)
		if left == 0 {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%d objects are left", left)
		}
		for i := range pods {
			w.remove(&pods[i])
		}
		for i := range claims.Items {
			w.remove(&claims.Items[i])
		}
		for i := range volumes {
			w.remove(&volumes[i])
		}
		w.kubelet()
	}
}
