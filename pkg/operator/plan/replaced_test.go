package plan

import (
	"testing"
	"time"
)

// again is a node of a name that another one had, there for five minutes.
func again(n *Node) { n.UID, n.Created = "another-"+n.UID, now.Add(-5*time.Minute) }

func fresh(n *Node) { n.Created = now.Add(-time.Minute) }

// in is a pod of a generation.
func in(generation uint64) func(*Pod) { return func(p *Pod) { p.Generation = generation } }

func told(ago time.Duration) func(*Server) {
	return func(s *Server) { s.Report.At = now.Add(-ago) }
}

func noUID(p *PVC) { p.Assignment.NodeUID = "" }

// attachedFor is where p1's volume is, since when.
func attachedFor(ago time.Duration, nodes ...string) (all []Attachment) {
	for _, n := range nodes {
		all = append(all, Attachment{"pv-p1", n, now.Add(-ago)})
	}
	return all
}

// A node that has the name of another one, which is gone, has neither its disk nor its
// pods.
func TestNodeReplacedUnderItsName(t *testing.T) {
	replaced, used := []Node{node("n1", again)}, []PVC{pvc("p1", of("n1", 3), wasReleased(2), pooled)}
	died := []func(*PVC){free(3), wasReleased(2), pooled}
	run(t, map[string]scene{
		"the server goes by force": {
			nodes: replaced, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3))}, servers: []Server{on("p1", "n1", 3, silent)},
			want: []string{"delete server server-p1-node-n1 by force"}},
		"once it had time to tell": {
			nodes: []Node{node("n1", again, fresh)}, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3))}, servers: []Server{on("p1", "n1", 3, silent)}},
		"which one that ended will not": {
			nodes: []Node{node("n1", again, fresh)}, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3))}, servers: []Server{on("p1", "n1", 3, failed)},
			want: []string{"delete server server-p1-node-n1 by force"}},
		"also one that is ending": {
			nodes: replaced, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3))}, servers: []Server{on("p1", "n1", 3, silent, terminating)},
			want: []string{"delete server server-p1-node-n1 by force"}},
		"whatever it said before the node was there": {
			nodes: replaced, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3))}, servers: []Server{on("p1", "n1", 3, inUse, told(10*time.Minute))},
			want: []string{"delete server server-p1-node-n1 by force"}},
		"then the holder": {
			nodes: replaced, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3), going)},
			want: []string{"delete holder holder-p1-node-n1 by force"}},
		"then the PVC is free": {
			nodes: replaced, pvcs: used, want: []string{"free PVC p1"}},
		"and the node's, in a generation of its own": {
			nodes: replaced, pvcs: []PVC{pvc("p1", died...)}, want: []string{gives("p1", "n1", 4)}},
		"but not before the old one's attachment is gone": {
			nodes: replaced, pvcs: []PVC{pvc("p1", died...)}, attachments: attachedFor(time.Hour, "n1")},
		"which another node need not wait for": {
			nodes: []Node{node("n1", again), node("n0")}, pvcs: []PVC{pvc("p1", died...)}, attachments: attachedFor(time.Hour, "n1"),
			want: []string{gives("p1", "n0", 4)}},
		"an attachment of its own is none of the old one's": {
			nodes: replaced, pvcs: []PVC{pvc("p1", died...)}, attachments: attachedFor(time.Second, "n1"), want: []string{gives("p1", "n1", 4)}},
		"a server that has told since that it has the pool never stopped: the node is the same": {
			nodes: replaced, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3))}, servers: []Server{on("p1", "n1", 3, inUse)},
			want: []string{"PVC p1 is assigned to node n1 of UID another-uid-n1"}},
		"one that only waits did": {
			nodes: replaced, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3))},
			servers: []Server{on("p1", "n1", 3, func(s *Server) { s.Report.Pool = "" })},
			want:    []string{"delete server server-p1-node-n1 by force"}},
		"an assignment without a UID is the node's that is there, and nothing else is done": {
			nodes: n1Left, pvcs: []PVC{pvc("p1", of("n1", 1), pooled, noUID)}, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(1))}, servers: []Server{on("p1", "n1", 1, idleFor(time.Hour))},
			want: []string{"PVC p1 is assigned to node n1 of UID uid-n1"}},
		"but not where there is none": {
			pvcs: []PVC{pvc("p1", of("n1", 1), pooled, noUID)}, want: []string{"free PVC p1"}},
		"nor where it is out of service": {
			nodes: []Node{node("n1", outOfService)}, pvcs: []PVC{pvc("p1", of("n1", 1), pooled, noUID)}, want: []string{"free PVC p1"}},
	})
}

func TestDeadMachinesAreNamedByUID(t *testing.T) {
	old := Machine{"n1", "uid-n1"}
	s := scene{nodes: []Node{node("n1", again)}, pvcs: []PVC{pvc("p1", of("n1", 3), pooled)}, holders: []Pod{holder("p1", "n1", in(3))}}
	if got := Next(s.state(t)); len(got) == 0 || got[0].(DeleteHolder).Dead != old {
		t.Errorf("got %v, want %v looked for once more", got, old)
	}
	s.holders = nil
	if got := Next(s.state(t)); len(got) == 0 || got[0].(FreePVC).Dead != old {
		t.Errorf("got %v, want %v looked for once more", got, old)
	}
	s.pvcs = []PVC{pvc("p1", free(3), pooled)}
	if got := Next(s.state(t)); len(got) == 0 || got[0].(AssignPVC).To.NodeUID != "another-uid-n1" {
		t.Errorf("got %v, want it assigned to the new one", got)
	}
}
