//go:build apiserver

package etcd

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestTaintedNode: two workers and a node of the control plane have one member, in either
// mode, and three when the third takes one.
func TestTaintedNode(t *testing.T) {
	onThreeNodes(t, func(t *testing.T, w *world) {
		taints := []corev1.Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}}
		w.patchNode("c", func(n *corev1.Node) { n.Spec.Taints = taints })
		one, three := w.members("a"), w.members("a", "b", "c")
		w.until("one", func() bool { w.provision(); return one() })
		w.steps(10)
		if n := len(w.etcd.members); n != 1 {
			t.Errorf("there are %d members", n)
		}
		w.patchNode("c", func(n *corev1.Node) { n.Spec.Taints = nil })
		w.until("three", func() bool { w.provision(); return three() })
	})
}
