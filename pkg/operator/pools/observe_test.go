package pools

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// A server of a machine that was rebooted is the same pod: its label stays, its condition
// does not.
func TestPodThatWasReady(t *testing.T) {
	since := time.Unix(1700000000, 0)
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{specs.LabelPool: "1"}},
		Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(since)},
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(since.Add(time.Hour))},
		}},
	}
	if got := podOf(pod); got.Ready || !got.WasReady || !got.ReadySince.Equal(since) {
		t.Errorf("%+v", got)
	}
	pod.Status.Conditions = nil
	if got := podOf(pod); got.Ready || !got.ReadySince.IsZero() {
		t.Errorf("it has told nothing: %+v", got)
	}
}

func TestPodThatIsToGo(t *testing.T) {
	by := metav1.NewTime(time.Unix(1700000000, 0))
	got := podOf(corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &by, Finalizers: []string{"example.com/a"}}})
	if !got.Deleting || !got.GoneBy.Equal(by.Time) || len(got.Finalizers) != 1 {
		t.Errorf("%+v", got)
	}
	if got := podOf(corev1.Pod{}); got.Deleting || !got.GoneBy.IsZero() {
		t.Errorf("nobody has deleted it: %+v", got)
	}
}
