//go:build apiserver

package etcd

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestPodThatDoesNotEnd: a member's node is not ready and leaves the selector. Its pod can
// be ended by nobody, which is told, until Kubernetes knows that the machine is off.
func TestPodThatDoesNotEnd(t *testing.T) {
	w := newWorld(t, map[string]string{"nodeSelector": "!away"})
	for _, node := range []string{"a", "b", "c", "d"} {
		w.addNode(node)
	}
	w.until("three", w.members("a", "b", "c"))

	w.powerOff("c")
	w.patchNode("c", func(n *corev1.Node) { n.Labels["away"] = "" })
	w.until("it is told", func() bool {
		w.ahead += time.Second
		return w.wasTold("node.kubernetes.io/out-of-service")
	})
	if w.pod(2).Spec.NodeName != "c" {
		t.Error("it was deleted by force, and may run")
	}
	w.patchNode("c", func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeOutOfService, Value: "nodeshutdown", Effect: corev1.TaintEffectNoExecute}}
	})
	w.until("replaced", w.members("a", "b", "d"))
}

// TestNodesAreAway: what they take from etcd is told when it lasts.
func TestNodesAreAway(t *testing.T) {
	w := newWorld(t, map[string]string{})
	for _, node := range []string{"a", "b", "c"} {
		w.addNode(node)
	}
	w.until("three", w.members("a", "b", "c"))
	w.powerOff("c")
	w.ahead += stuckAfter - time.Minute
	w.steps(5)
	if w.wasTold("EtcdWaits") {
		t.Error("it is told at once")
	}
	w.ahead += 2 * time.Minute
	w.until("it is told", func() bool {
		return w.wasTold("2 of 3 members of etcd are well (dotmesh-etcd-cluster-2: its node c is not ready)")
	})
	w.powerOff("b")
	w.until("it is told that there is no quorum", func() bool {
		return w.wasTold("etcd does not answer (dotmesh-etcd-cluster-1: its node b is not ready; ")
	})
}

// powerOff is a node that Kubernetes knows to be not ready.
func (w *world) powerOff(name string) {
	w.t.Helper()
	n := w.patchNode(name, func(*corev1.Node) {})
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse}}
	if err := w.direct.Status().Update(w.t.Context(), n); err != nil {
		w.t.Fatal(err)
	}
	for _, p := range w.pods() {
		if p.Spec.NodeName != name {
			continue
		}
		w.etcd.stop(w.ordinal(p))
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
		if err := w.direct.Status().Update(w.t.Context(), &p); err != nil {
			w.t.Fatal(err)
		}
	}
}

// wasTold reads the Events up to one that says so.
func (w *world) wasTold(part string) bool {
	for {
		select {
		case event := <-w.events:
			if strings.Contains(event, part) {
				return true
			}
		default:
			return false
		}
	}
}
