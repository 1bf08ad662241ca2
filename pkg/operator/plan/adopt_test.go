package plan

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// made is the name of the attempt-th PVC that is made for a node.
func made(node string, attempt int) string {
	return specs.PVCName(node, types.UID("uid-"+node), attempt)
}

// reachable binds a PVC's volume to nodes with a label, as a PersistentVolume does.
func reachable(key, value string) func(*PVC) {
	return func(p *PVC) {
		p.Reach.Affinity = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{value}},
		}}}}
	}
}

func inZone(zone string) func(*PVC) { return func(p *PVC) { p.Reach.Zone = zone } }

func gives(pvc, node string, generation int) string {
	return fmt.Sprintf("assign PVC %s to node %s, generation %d", pvc, node, generation)
}

func TestAdoption(t *testing.T) {
	young, old := pvc("young", free(1), wasReleased(1), aged(time.Hour)), pvc("old", free(4), aged(2*time.Hour))
	run(t, map[string]scene{
		"the oldest free PVC goes first": {
			nodes: []Node{node("n1")}, pvcs: []PVC{young, old}, want: []string{gives("old", "n1", 5)}},
		"each to one node, and the rest get new ones": {
			nodes: []Node{node("n3"), node("n1"), node("n2")}, pvcs: []PVC{young, old},
			want: []string{gives("old", "n1", 5), gives("young", "n2", 2), "create PVC " + made("n3", 0)}},
		"none that is being deleted": {
			nodes: []Node{node("n1")}, pvcs: []PVC{pvc("p1", free(1), beingDeleted)}, want: []string{"create PVC " + made("n1", 0)}},
		"nor one that a person gave up": {
			nodes: []Node{node("n1")}, pvcs: []PVC{pvc("p1", free(1), toBeDeleted)}, want: []string{"delete PVC p1", "create PVC " + made("n1", 0)}},
		"nor one without a volume any more": {
			nodes: []Node{node("n1")}, pvcs: []PVC{pvc("p1", free(1), lost)},
			want: []string{"warn on PersistentVolumeClaim p1: Lost: Its PersistentVolume is gone, and the pool on it. Delete the PVC, and its node gets another.", "create PVC " + made("n1", 0)}},
		"nor one that is not understood": {
			nodes: []Node{node("n1")}, pvcs: []PVC{pvc("p1", malformed)},
			want: []string{"warn on PersistentVolumeClaim p1: Malformed: It is left alone: so it is.", "create PVC " + made("n1", 0)}},
		"a pod that is there yet is waited for": {
			nodes: []Node{node("n1"), node("n2", labelled, cordoned)}, pvcs: []PVC{pvc("p1", free(1), wasReleased(1))}, holders: []Pod{holder("p1", "n2", going)}},
		"a node that is not ready gets none": {nodes: []Node{node("n1", unready)}, pvcs: []PVC{old}},
		"nor one that is cordoned":           {nodes: []Node{node("n1", cordoned)}, pvcs: []PVC{old}},
		"nor one that keeps pods away":       {nodes: []Node{node("n1", tainted)}, pvcs: []PVC{old}},
		"nor one that is out of service":     {nodes: []Node{node("n1", outOfService)}, pvcs: []PVC{old}},
		"nor one that the selector leaves":   {nodes: []Node{node("n1", deselected)}, pvcs: []PVC{old}},
		"a name that is taken is not made again": {
			nodes: []Node{node("n1"), node("n2", labelled, unready)}, pvcs: []PVC{pvc(made("n1", 0), of("n2", 1), pooled)}, holders: []Pod{holder(made("n1", 0), "n2", pending)},
			guards: []string{specs.HolderName(made("n1", 0), "n2")}, want: []string{"create PVC " + made("n1", 1)}},
	})
}

func TestAdoptionKeepsToItsZone(t *testing.T) {
	east, west := node("n1", zoned("east")), node("n2", zoned("west"))
	run(t, map[string]scene{
		"by the volume's node affinity": {
			nodes: []Node{east, west}, pvcs: []PVC{pvc("p1", free(1), reachable(corev1.LabelTopologyZone, "west"))},
			want: []string{"create PVC " + made("n1", 0), gives("p1", "n2", 2)}},
		"by any label in it": {
			nodes: []Node{east, west}, pvcs: []PVC{pvc("p1", free(1), reachable("topology.example.com/rack", "7"))},
			want: []string{"create PVC " + made("n1", 0), "create PVC " + made("n2", 0)}},
		"by the volume's zone": {
			nodes: []Node{east, west}, pvcs: []PVC{pvc("p1", free(1), inZone("west"))},
			want: []string{"create PVC " + made("n1", 0), gives("p1", "n2", 2)}},
		"or its zones": {
			nodes: []Node{west}, pvcs: []PVC{pvc("p1", free(1), inZone("east__west"))}, want: []string{gives("p1", "n2", 2)}},
		"one that is not bound goes anywhere": {
			nodes: []Node{west}, pvcs: []PVC{pvc("p1", unbound)}, want: []string{gives("p1", "n2", 1)}},
		"a class that binds out of reach is not asked again and again": {
			nodes: []Node{west}, pvcs: []PVC{pvc(made("n2", 0), inZone("east"))},
			want: []string{fmt.Sprintf("warn on PersistentVolumeClaim %s: OutOfReach: It was made for node n2, which cannot reach its volume pv-%[1]s: use a StorageClass that binds when a pod is scheduled (volumeBindingMode: WaitForFirstConsumer).", made("n2", 0))}},
	})
}

// served is the whole of a PVC that is served on a node.
func (c scene) served(p PVC, is ...func(*Server)) scene {
	name, n, generation := p.Name, p.Assignment.Node, p.Assignment.Generation
	c.pvcs = append(c.pvcs[:len(c.pvcs):len(c.pvcs)], p)
	c.guards = append(c.guards[:len(c.guards):len(c.guards)], specs.HolderName(name, n))
	c.holders = append(c.holders[:len(c.holders):len(c.holders)], holder(name, n))
	c.servers = append(c.servers[:len(c.servers):len(c.servers)], on(name, n, generation, is...))
	return c
}

func (c scene) plus(p ...PVC) scene {
	c.pvcs = append(c.pvcs[:len(c.pvcs):len(c.pvcs)], p...)
	return c
}

func (c scene) wants(want ...string) scene {
	c.want = want
	return c
}

func TestServingBesideAnother(t *testing.T) {
	two := scene{nodes: []Node{node("n1", labelled), node("n2", labelled)}}
	full := two.served(pvc("p1", of("n1", 1), pooled)).served(pvc("p2", of("n2", 1), pooled))
	asks := two.served(pvc("p1", of("n1", 1), pooled)).served(pvc("p2", of("n2", 1), pooled), wants("pool-p3"))
	third := two.served(pvc("p1", of("n1", 1), pooled)).served(pvc("p2", of("n2", 1), pooled)).served(pvc("p0", of("n1", 1), pooled), inUse)
	drained, died := []func(*PVC){free(3), wasReleased(3), pooled}, []func(*PVC){free(3), pooled}
	run(t, map[string]scene{
		"a pool that was released and nobody wants stays as it is": full.plus(pvc("p3", append(drained, freedFor(time.Hour))...)),
		"one that a pod waits for is served, where it waits":       asks.plus(pvc("p3", drained...)).wants(gives("p3", "n2", 4)),
		"but on a spare node if there is one": func() scene {
			c := asks.plus(pvc("p3", drained...)).wants(gives("p3", "n3", 4))
			c.nodes = append([]Node{node("n3")}, c.nodes...)
			return c
		}(),
		"a dead node's waits for a new node":         asks.plus(pvc("p3", append(died, freedFor(5*time.Minute-time.Second))...)),
		"for five minutes, then it is served beside": full.plus(pvc("p3", append(died, freedFor(5*time.Minute))...)).wants(gives("p3", "n1", 4)),
		"where the fewest are":                       third.plus(pvc("p3", append(died, freedFor(time.Hour))...)).wants(gives("p3", "n2", 4)),
		"and where its volume can be":                full.plus(pvc("p3", append(died, freedFor(time.Hour), reachable(corev1.LabelHostname, "n2"))...)),
		"one after another, so that no node gets all": full.plus(
			pvc("p3", append(died, freedFor(time.Hour))...), pvc("p4", append(died, freedFor(time.Hour))...)).
			wants(gives("p3", "n1", 4), gives("p4", "n2", 4)),
		"what never held a pool is not served": full.plus(pvc("p3"), pvc("p4", free(1), unbound, freedFor(time.Hour))),
	})
}

// A node that comes back does not get a new PVC while its own, on another node, has
// nothing to do there.
func TestGivingAway(t *testing.T) {
	second := func(is ...func(*Server)) scene {
		c := scene{nodes: []Node{node("n1", labelled), node("n2")}}
		return c.served(pvc("p1", of("n1", 1), pooled, aged(2*time.Hour)), inUse).served(pvc("p2", of("n1", 3), wasReleased(2), pooled), is...)
	}
	run(t, map[string]scene{
		"idle for long enough: it is released for the other": second(idleFor(time.Minute)).wants("ask server server-p2-node-n1 to release generation 3"),
		"idle for a moment: the other waits":                 second(idleFor(time.Second)),
		"used: the other gets a new one":                     second(inUse).wants("create PVC " + made("n2", 0)),
		"about to be free: the other waits":                  second(released).wants("PVC p2 was released by generation 3"),
		"out of its reach: it gets a new one": func() scene {
			c := second(idleFor(time.Hour)).wants("create PVC " + made("n2", 0))
			c.pvcs[1].Reach.Zone = "elsewhere"
			return c
		}(),
		"there is a free one: that is taken": second(idleFor(time.Hour)).plus(pvc("p3", free(1), wasReleased(1))).wants(gives("p3", "n2", 2)),
		"both idle: a node keeps one": scene{nodes: []Node{node("n1", labelled), node("n2"), node("n3")}}.
			served(pvc("p1", of("n1", 1), pooled, aged(2*time.Hour)), idleFor(time.Hour)).
			served(pvc("p2", of("n1", 1), pooled), idleFor(time.Hour)).
			wants("ask server server-p2-node-n1 to release generation 1"),
		"a node that has one keeps it": scene{nodes: []Node{node("n1", labelled), node("n2")}}.
			served(pvc("p1", of("n1", 1), pooled), idleFor(time.Hour)).wants("create PVC " + made("n2", 0)),
	})
}
