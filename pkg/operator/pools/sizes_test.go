package pools

import (
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

func TestLargest(t *testing.T) {
	var p Pools
	if _, asked := p.Largest(); asked {
		t.Error("servers were asked before the first observation")
	}
	labelled := func(name string) plan.Node {
		return plan.Node{Name: name, Labels: map[string]string{specs.LabelServer: specs.True}}
	}
	server := func(node, pvc string) plan.Server {
		return plan.Server{Pod: plan.Pod{Name: node, Node: node, PVC: pvc}}
	}
	both := plan.State{Nodes: []plan.Node{labelled("a"), labelled("b")}, Servers: []plan.Server{server("a", ""), server("b", "")}}
	want := func(size int64, why string) {
		t.Helper()
		if got, asked := p.Largest(); got != size || !asked {
			t.Errorf("%s: got %d, %v, want %d", why, got, asked, size)
		}
	}
	p.sizes.note(both, map[string]Status{"a": {DiskBytes: 7}, "b": {DiskBytes: 5}})
	want(7, "two pools")
	p.sizes.note(plan.State{Nodes: both.Nodes}, nil)
	want(7, "servers that are being replaced")
	p.sizes.note(both, map[string]Status{"a": {}, "b": {DiskBytes: 6}})
	want(7, "one that has not told since")
	p.sizes.note(plan.State{Nodes: both.Nodes[1:]}, nil)
	want(6, "a node that is gone")
	up := server("a", "")
	up.WasReady = true
	p.sizes.note(plan.State{Nodes: both.Nodes, Servers: []plan.Server{up}}, nil)
	if _, known := p.Largest(); known {
		t.Error("one that was up has not told")
	}
	p.sizes.note(plan.State{Nodes: []plan.Node{{Name: "b"}}, Servers: []plan.Server{server("b", "p")}}, map[string]Status{"b": {DiskBytes: 9}})
	want(0, "a pool on a PVC")
}
