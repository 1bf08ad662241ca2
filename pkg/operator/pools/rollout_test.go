//go:build apiserver

package pools_test

import (
	"maps"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// rolloutStops has an image that cannot be pulled, and then one that can.
func rolloutStops(t *testing.T, w *world) {
	for _, name := range []string{"a", "b", "c"} {
		w.addNode(name, "")
	}
	w.settle()
	w.image = "dotmesh:broken"
	w.badImages[w.image] = true
	w.restart()
	w.pass(15 * step)
	if got := w.images(); got["dotmesh:1"] != 2 || got["dotmesh:broken"] != 1 {
		t.Errorf("servers run %v, want that one alone was replaced", got)
	}
	w.wantEvent("RolloutStopped")
	if w.pools.ServersCameUp() {
		t.Error("the node service and etcd would be given the broken image")
	}
	told := w.serversCameUp
	w.image = "dotmesh:2"
	w.restart()
	w.settle()
	if !w.pools.ServersCameUp() || w.serversCameUp != told+1 {
		t.Errorf("the servers have the new image, which was told %d times: %v", w.serversCameUp-told, w.pools.ServersCameUp())
	}
	if got := w.images(); !maps.Equal(got, map[string]int{"dotmesh:2": 3}) {
		t.Errorf("servers run %v, want the new image", got)
	}
	if got := len(w.serving()); got != 3 {
		t.Errorf("%d nodes are served", got)
	}
}

func (w *world) images() map[string]int {
	w.Helper()
	images := map[string]int{}
	for _, pod := range w.pods(specs.ComponentServer) {
		images[pod.Spec.Containers[0].Image]++
	}
	return images
}
