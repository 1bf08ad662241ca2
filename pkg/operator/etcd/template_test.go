package etcd

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/certs"
)

// TestHeldImages: what would run no better with another image waits until servers have come
// up with it.
func TestHeldImages(t *testing.T) {
	answered := &Bootstrap{Existing: true}
	for _, tt := range []struct {
		what  string
		pod   Pod
		came  bool
		begun *Bootstrap
		held  bool
	}{
		{"servers came up with it", Pod{Ready: true}, true, answered, false},
		{"all are well", Pod{Ready: true}, false, answered, true},
		{"nothing is begun", Pod{Broken: true, Stuck: true}, false, nil, false},
		{"it never answered", Pod{Broken: true, Stuck: true}, false, &Bootstrap{}, false},
		{"no node takes one that answered, its disk is not attached, or it joins", Pod{Broken: true, Stuck: true}, false, answered, true},
		{"its image could not be had for long", Pod{Broken: true, Stuck: true, InVain: true}, false, answered, false},
		{"it may come yet", Pod{Broken: true, InVain: true}, false, answered, true},
		{"its node is away", Pod{Broken: true, Stuck: true, InVain: true, Away: true}, false, answered, true},
	} {
		next := local()
		next.Image, next.Trust = "etcd:2", "another"
		o := &observed{spec: next, last: &appsv1.StatefulSet{Spec: local().StatefulSet().Spec}}
		o.state.Begun, o.state.Pods = tt.begun, map[int]Pod{0: tt.pod}
		template, held := o.nextTemplate(tt.came)
		want := map[bool]string{true: "etcd:1", false: "etcd:2"}[tt.held]
		if got := template.Spec.Containers[0].Image; held != tt.held || got != want {
			t.Errorf("%s: got %s, held: %v", tt.what, got, held)
		}
		if got := template.Annotations; got[certs.TrustAnnotation] != next.Trust {
			t.Errorf("%s: another CA waits too: %v", tt.what, got)
		}
		o.last = nil
		if template, _ := o.nextTemplate(tt.came); template.Spec.Containers[0].Image != "etcd:2" {
			t.Errorf("%s, and the StatefulSet is deleted: got %s", tt.what, template.Spec.Containers[0].Image)
		}
	}
}

// TestReadiness: a pod is not slow to start while its node is off.
func TestReadiness(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC) }
	bare := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(at(1))}}
	pod := func(is corev1.ConditionStatus, since int) *corev1.Pod {
		p := bare.DeepCopy()
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: is, LastTransitionTime: metav1.NewTime(at(since))}}
		return p
	}
	for _, tt := range []struct {
		what  string
		pod   *corev1.Pod
		on    *corev1.Node
		ready bool
		since int
	}{
		{"no node takes it", bare, nil, false, 1},
		{"it is made", bare, nodeThatIs(corev1.ConditionTrue, at(0)), false, 1},
		{"it is ready", pod(corev1.ConditionTrue, 2), nodeThatIs(corev1.ConditionTrue, at(0)), true, 2},
		{"its node is off", pod(corev1.ConditionFalse, 3), nodeThatIs(corev1.ConditionUnknown, at(4)), false, 3},
		{"its node is back", pod(corev1.ConditionFalse, 3), nodeThatIs(corev1.ConditionTrue, at(9)), false, 9},
	} {
		if ready, since := readiness(tt.pod, tt.on); ready != tt.ready || !since.Equal(at(tt.since)) {
			t.Errorf("%s: got %v since %v", tt.what, ready, since)
		}
	}
}

func nodeThatIs(ready corev1.ConditionStatus, since time.Time) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "a"},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready, LastTransitionTime: metav1.NewTime(since)}}},
	}
}
