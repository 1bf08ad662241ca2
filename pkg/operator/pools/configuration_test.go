//go:build apiserver

package pools_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

func newPVCsOnly(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	first := w.assigned()["a"]
	w.configure(map[string]string{"storageMode": "pvcPerNode", "pvcPerNode.storageClass": "fast", "pvcPerNode.volumeMode": "Filesystem"})
	w.addNode("b", "")
	w.settle()
	for node, want := range map[string]string{"a": "standard Block", "b": "fast Filesystem"} {
		pvc := w.pvc(w.assigned()[node])
		if got := *pvc.Spec.StorageClassName + " " + string(*pvc.Spec.VolumeMode); got != want {
			t.Errorf("the PVC of node %s is %s, want %s", node, got, want)
		}
	}
	if got := w.assigned()["a"]; got != first {
		t.Errorf("node a has %s, want %s still", got, first)
	}
}

// atOnce changes every key of the configuration that no server or holder is restarted for.
func atOnce(t *testing.T, w *world) {
	w.addNode("a", "")
	w.settle()
	uids := func() (all []string) {
		for _, pod := range append(w.pods(specs.ComponentServer), w.pods(specs.ComponentHolder)...) {
			all = append(all, string(pod.UID))
		}
		return all
	}
	before := uids()
	w.configure(map[string]string{
		"storageMode": w.config.Data()["storageMode"], "nodeSelector": corev1.LabelOSStable + "=linux",
		"upgradesUrl": "https://a.example/", "upgradesIntervalSeconds": "3600", "logAddress": "tcp://logs:601", "recover": "true",
		"replicas": "all", "syncInterval": "30s", "failoverAfter": "10m", "kubeletDir": "/data/kubelet", "local.poolSizePerNode": "11G",
	})
	w.settle()
	if after := uids(); len(before) == 0 || !slices.Equal(after, before) {
		t.Errorf("pods were %q, and are %q", before, after)
	}
}

func selector(t *testing.T, w *world) {
	w.addNode("a", "")
	w.addNode("b", "")
	w.changeNode("b", func(n *corev1.Node) { n.Labels["disk"] = "ssd" })
	w.settle()
	server := w.pods(specs.ComponentServer)
	w.configure(map[string]string{"storageMode": "pvcPerNode", "nodeSelector": "disk=ssd"})
	w.settle()
	w.wantServing(map[string][]string{"b": {w.assigned()["b"]}})
	after := w.pods(specs.ComponentServer)
	if len(after) != 1 || !slices.ContainsFunc(server, func(p corev1.Pod) bool { return p.UID == after[0].UID }) {
		t.Error("the server of the node that stays was restarted")
	}
}
