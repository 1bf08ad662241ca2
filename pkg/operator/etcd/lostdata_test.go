//go:build apiserver

package etcd

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

// TestLostData: a member that has lost its data is removed and added anew, and nothing
// that the removed one left keeps that from starting. One that only looks for its data
// stays.
func TestLostData(t *testing.T) {
	t.Run("local", func(t *testing.T) {
		w := newWorld(t, map[string]string{})
		w.losesData()
		w.diskIsGivenUp()
	})
	t.Run("pvcPerNode", func(t *testing.T) {
		w := newWorld(t, map[string]string{"storageMode": "pvcPerNode", "pvcPerNode.storageClass": "disks"})
		w.create(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "disks"}, Provisioner: "test"})
		w.losesData()
		w.diskIsGivenUp()

		t.Log("it was removed by mistake, and has all its data")
		before := w.member(2)
		w.etcd.stop(2)
		if err := w.etcd.Remove(t.Context(), before); err != nil {
			t.Fatal(err)
		}
		w.comesBack(before)
	})
}

// diskIsGivenUp goes by docs/etcd.md: the claim and the pod are deleted, and in local mode, where
// the volume is the next claim's, what was on it is taken away.
func (w *world) diskIsGivenUp() {
	w.t.Helper()
	before := w.member(2)
	volume := w.volume(*w.pod(2)).Name
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: claimName(2)}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: podName(2)}}
	for _, o := range []client.Object{claim, pod} {
		if err := w.direct.Delete(w.t.Context(), o); err != nil {
			w.t.Fatal(err)
		}
	}
	w.etcd.lose(volume)
	w.comesBack(before)
}

func (w *world) losesData() {
	w.kill = 3
	for _, node := range []string{"a", "b", "c"} {
		w.addNode(node)
	}
	three := w.members("a", "b", "c")
	w.until("three", func() bool { w.provision(); return three() && w.member(2) != 0 })
	before := w.member(2)

	// It starts: the container that looks for its data runs for some seconds, long after
	// the pod was ready last.
	p := w.pod(2)
	w.etcd.stop(2)
	for _, running := range []*corev1.ContainerStateRunning{{}, nil} {
		p.Status.InitContainerStatuses[0].State.Running = running
		p.Status.InitContainerStatuses[0].ContainerID = "containerd://restarted"
		p.Status.Conditions[0].Status = corev1.ConditionFalse
		if err := w.direct.Status().Update(w.t.Context(), p); err != nil {
			w.t.Fatal(err)
		}
		for range 3 {
			if _, err := w.Reconcile(w.t.Context(), reconcile.Request{}); err != nil && !errors.Is(err, errKilled) {
				w.t.Fatal(err)
			}
		}
		w.ahead += brokenAfter + time.Second
	}
	w.until("started", three)
	if got := w.member(2); got != before {
		w.t.Errorf("the member was removed, though it has its data: %x is now %x", before, got)
	}

	w.etcd.lose(w.volume(*w.pod(2)).Name)
	if err := w.direct.Delete(w.t.Context(), w.pod(2)); err != nil {
		w.t.Fatal(err)
	}
	w.comesBack(before)
}

// comesBack waits for the third member to be another than it was.
func (w *world) comesBack(before members.ID) {
	w.t.Helper()
	three := w.members("a", "b", "c")
	w.until("the third member again", func() bool {
		w.provision()
		w.ahead += time.Second // a step is done about once a second
		return three() && w.member(2) != before
	})
}

func (w *world) member(ordinal int) members.ID {
	w.t.Helper()
	for _, m := range w.etcd.members {
		if of, _ := ordinalOf(m); of == ordinal {
			return m.ID
		}
	}
	return 0
}

func (w *world) pod(ordinal int) *corev1.Pod {
	w.t.Helper()
	var p corev1.Pod
	if err := w.direct.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: podName(ordinal)}, &p); err != nil {
		w.t.Fatal(err)
	}
	return &p
}
