//go:build apiserver

package pools_test

import (
	"context"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/test/apiserver"
)

// killedAtEachStep tells a story again and again: in the n-th run the operator is killed
// after its n-th action since the story began.
func killedAtEachStep(t *testing.T, api *apiserver.Server, c client.Client, tell func(t *testing.T, w *world, begin func())) {
	run := func(t *testing.T, kill int) (passed []crash.Point) {
		w := newWorld(t, api, c, perNode)
		tell(t, w, func() {
			w.hook = func(_ context.Context, point crash.Point) {
				if passed = append(passed, point); len(passed) == kill {
					panic(killed)
				}
			}
		})
		return passed
	}
	var steps []crash.Point
	t.Run("never", func(t *testing.T) { steps = run(t, 0) })
	if len(steps) < 7 {
		t.Fatalf("only %v was done", steps)
	}
	for i, point := range steps {
		t.Run(string(point), func(t *testing.T) { run(t, i+1) })
	}
}

// adoption has a PVC leave a node and be adopted by another.
func adoption(t *testing.T, w *world, begin func()) {
	begin()
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	w.cordon("a")
	w.settle()
	w.addNode("b", "")
	w.settle()
	w.wantServing(map[string][]string{"b": {pvc}})
	p := w.pvc(pvc)
	if len(w.pvcs()) != 1 || p.Annotations[specs.AnnotationGeneration] != "2" || p.Annotations[specs.AnnotationReleased] != "1" {
		t.Errorf("%d PVCs, with annotations %v", len(w.pvcs()), p.Annotations)
	}
	if d := w.disks[string(p.UID)]; d.generation != 2 {
		t.Errorf("generation %d serves", d.generation)
	}
}

// takeOver has a machine die with its pool in use, and another take it over that nobody
// exported.
func takeOver(t *testing.T, w *world, begin func()) {
	w.addNode("a", "")
	w.settle()
	pvc := w.assigned()["a"]
	begin()
	w.cutPower("a")
	w.changeNode("a", putOutOfService)
	w.addNode("b", "")
	w.settle()
	w.wantServing(map[string][]string{"b": {pvc}})
	p := w.pvc(pvc)
	if _, released := p.Annotations[specs.AnnotationReleased]; released || len(w.pvcs()) != 1 || p.Annotations[specs.AnnotationGeneration] != "2" {
		t.Errorf("%d PVCs, with annotations %v, want generation 2 and none released", len(w.pvcs()), p.Annotations)
	}
	servers, holders := w.pods(specs.ComponentServer), w.pods(specs.ComponentHolder)
	if len(servers) != 1 || len(holders) != 1 || len(w.guards()) != 1 || len(w.attachments("")) != 1 {
		t.Fatalf("%d servers, %d holders, %d budgets, %d attachments; want one of each", len(servers), len(holders), len(w.guards()), len(w.attachments("")))
	}
	if _, may := arguments(&servers[0])["--pool-take-over"]; !may {
		t.Error("the server may not take the pool over")
	}
}

// deletion has a PVC leave its node that a person gave up.
func deletion(t *testing.T, w *world, begin func()) {
	w.addNode("a", "")
	w.settle()
	was := w.pvc(w.assigned()["a"])
	begin()
	w.giveUp(was.Name)
	w.cordon("a")
	w.settle()
	w.wantGone(was)
	w.wantBare("a")
}
