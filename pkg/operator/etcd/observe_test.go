package etcd

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTrouble(t *testing.T) {
	node := func(ready corev1.ConditionStatus) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}}}
	}
	well, away := map[string]*corev1.Node{"a": node(corev1.ConditionTrue)}, map[string]*corev1.Node{"a": node(corev1.ConditionUnknown)}
	class := "disks"
	claim := func(volume string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &class, VolumeName: volume}}
	}
	on := func(node, reason string) *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{NodeName: node}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "etcd", Image: "etcd:1", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}},
		}}}
	}
	ready := on("a", "CrashLoopBackOff")
	ready.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	for _, tt := range []struct {
		what  string
		nodes map[string]*corev1.Node
		pod   *corev1.Pod
		claim *corev1.PersistentVolumeClaim
		want  string
	}{
		{"no volume", well, on("", ""), claim(""), `its PersistentVolumeClaim data has no volume yet, of the StorageClass "disks"`},
		{"no node", well, on("", ""), claim("v"), "no node takes it"},
		{"no claim yet", well, on("", ""), nil, "no node takes it"},
		{"a node that is gone", nil, on("a", ""), claim("v"), "its node a is gone"},
		{"a node that is away", away, on("a", "ImagePullBackOff"), claim("v"), "its node a is not ready"},
		{"no image", well, on("a", "ImagePullBackOff"), claim("v"), "its container etcd, of the image etcd:1, waits: ImagePullBackOff"},
		{"it starts", well, on("a", "PodInitializing"), claim("v"), ""},
		{"it is ready", well, ready, claim("v"), ""},
	} {
		if got := (&observed{nodes: tt.nodes}).trouble(tt.pod, tt.claim); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.what, got, tt.want)
		}
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	one := running(nodes("a", "b", "c"), voter(0), voter(1), down(voter(2)))
	for _, tt := range []struct {
		what             string
		s                State
		members, healthy float64
	}{
		{"nothing is there", State{}, 0, 0},
		{"one of three is not well", one, 3, 2},
		{"no answer", with(three(), silent), 3, 0},
	} {
		m.observed(tt.s)
		got := gauges(t, registry)
		if got["dotmesh_operator_etcd_members"] != tt.members || got["dotmesh_operator_etcd_members_healthy"] != tt.healthy {
			t.Errorf("%s: got %v", tt.what, got)
		}
	}
}

func gauges(t *testing.T, from *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	return got
}

// TestWhoWaitsWithoutData: who only looks has not said that there is none.
func TestWhoWaitsWithoutData(t *testing.T) {
	node := &corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}}
	running := func(name string) *corev1.Pod {
		return &corev1.Pod{Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{
			{Name: name, ContainerID: "containerd://1", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		}}}
	}
	for _, tt := range []struct {
		what string
		pod  *corev1.Pod
		on   *corev1.Node
		want string
	}{
		{"it looks, on a disk that does not answer", running(lookContainer), node, ""},
		{"it waits", running(joinContainer), node, "containerd://1"},
		{"it waits, as its node told long ago", running(joinContainer), &corev1.Node{}, ""},
		{"its node is gone", running(joinContainer), nil, ""},
		{"it is over", &corev1.Pod{}, node, ""},
	} {
		if got := joins(tt.pod, tt.on); got != tt.want {
			t.Errorf("%s: got %q", tt.what, got)
		}
	}
}

// TestMisplaced: a first volume that did not come may come from another class; one that is
// there stays.
func TestMisplaced(t *testing.T) {
	claim := func(class, volume string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &class, VolumeName: volume}}
	}
	for _, tt := range []struct {
		what        string
		set, wanted string
		claim       *corev1.PersistentVolumeClaim
		misplaced   bool
	}{
		{"nothing is there yet", "disks", "disks", nil, false},
		{"its volume comes", "disks", "disks", claim("disks", ""), false},
		{"another class, no claim", "disks", "others", nil, true},
		{"another class, no volume", "disks", "others", claim("disks", ""), true},
		{"another class, a volume", "disks", "others", claim("disks", "v"), false},
		{"made anew, the old claim is there", "others", "others", claim("disks", ""), true},
		{"made anew, the old claim has a volume", "others", "others", claim("disks", "v"), false},
		{"local after all", "disks", LocalClass, claim("disks", ""), true},
		{"local, made anew, the old claim is there", LocalClass, LocalClass, claim("disks", ""), true},
		{"local, before it is begun", LocalClass, LocalClass, claim(LocalClass, ""), false},
		{"local, and a class is configured since", LocalClass, "disks", claim(LocalClass, ""), false},
	} {
		o := &observed{class: tt.wanted, claims: map[int]*corev1.PersistentVolumeClaim{}}
		o.spec.Class, o.state.Local = tt.set, tt.set == LocalClass
		if tt.claim != nil {
			o.claims[0] = tt.claim
		}
		if got := o.misplaced(); got != tt.misplaced {
			t.Errorf("%s: got %v", tt.what, got)
		}
	}
}
