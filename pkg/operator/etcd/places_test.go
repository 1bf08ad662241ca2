package etcd

import (
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

// tainted nodes are somebody's own, as those of a control plane are.
func tainted(n *Node) { n.Suits, n.Takes = false, false }

// TestThirdPlace: two members are worse than one, so that one becomes two only where the
// third has a place; and what passes shrinks nothing.
func TestThirdPlace(t *testing.T) {
	third := func(is func(*Node)) func(*State) { return func(s *State) { is(&s.Nodes[2]) } }
	// disks are the class's.
	disks := func(s State) State {
		s.Local, s.Volumes, s.Claims = false, nil, map[int]members.ID{}
		for i, m := range s.Members {
			s.Claims[i] = m.ID
		}
		return s
	}
	on := func(all ...members.Member) State { return running(nodes("a", "b", "c"), all...) }
	unplaced := func(s *State) {
		delete(s.Volumes, 2)
		s.Pods[2], s.Claims[2] = Pod{}, 102
	}
	decide(t, []decision{
		{"it bears a taint", with(on(voter(0)), third(tainted)), "wait"},
		{"it bears a taint, on the class's volumes", disks(with(on(voter(0)), third(tainted))), "wait"},
		{"it is not ready", with(on(voter(0)), third(notReady)), "wait, act: etcd needs a node for each of 2 more members, and 1 can"},
		{"it is cordoned, on the class's volumes", disks(with(on(voter(0)), third(cordon))), "wait, act: etcd needs a node for each of 2 more members, and 1 can"},
		{"all take one, on the class's volumes", disks(on(voter(0))), "add member 1"},
		{"all take one, and a pod of no member's is there", with(disks(on(voter(0))), func(s *State) { s.Pods[1], s.Pods[2] = Pod{Node: "b"}, Pod{Node: "c"} }), "add member 1"},
		{"the only member's node is cordoned, and the third not ready", with(on(voter(0)), func(s *State) { cordon(&s.Nodes[0]); notReady(&s.Nodes[2]) }), "add member 1"},
		{"two, and it is not ready", with(on(voter(0), voter(1)), third(notReady)), "wait, act: etcd needs a node for each of 1 more members, and 0 can"},
		{"two, and it bears a taint", with(on(voter(0), voter(1)), third(tainted)), "remove member 1 101"},
		{"two, and it bears a taint, on the class's volumes", disks(with(on(voter(0), voter(1)), third(tainted))), "remove member 1 101"},
		{"three, and it bears a taint", with(three(), third(tainted)), "wait"},
		{"three, and it is not ready", with(three(), third(notReady)), "wait"},
		{"three, and two are not ready", with(three(), func(s *State) { notReady(&s.Nodes[1]); cordon(&s.Nodes[2]) }), "wait"},
		{"it joins, and its node gets a taint", with(on(voter(0), voter(1), added(2)), func(s *State) { tainted(&s.Nodes[2]); delete(s.Volumes, 2) }), "remove member 2 102"},
		{"it joins, and no node takes it, on the class's volumes", with(disks(with(on(voter(0), voter(1), added(2)), third(tainted))), unplaced), "remove member 2 102"},
		{"it joins, and waits for its volume", with(disks(on(voter(0), voter(1), added(2))), unplaced), "wait: dotmesh-etcd-cluster-2 is joining"},
		{"it joined, and its node gets a taint", with(disks(with(on(voter(0), voter(1), down(learner(2))), third(tainted))), unplaced), "wait: dotmesh-etcd-cluster-2 is joining"},
	})
}

func TestPlace(t *testing.T) {
	in := func(name, zone string) Node {
		return Node{Name: name, Zone: zone, Counts: true, Suits: true, Takes: true}
	}
	s := State{Nodes: []Node{in("d", "1"), in("c", "2"), in("b", "1"), in("a", "1")}, Volumes: map[int]Volume{0: {Node: "a"}}}
	if got, ok := s.place(1); !ok || got != "c" {
		t.Errorf("got %q, want another zone", got)
	}
	if got, ok := s.place(0); !ok || got != "b" {
		t.Errorf("got %q: it is to go, or other zones count", got)
	}
	s.Nodes[3].UID, s.Volumes[0] = "new", Volume{Node: "a", NodeUID: "old"}
	if got, ok := s.place(0); !ok || got != "a" {
		t.Errorf("got %q, want the node of its name", got)
	}
	s.Nodes[1].Zone = "1"
	if got, ok := s.place(1); !ok || got != "b" {
		t.Errorf("got %q, where another's pod may be", got)
	}
	s.Nodes[1].Zone = "2"
	s.Volumes[1] = Volume{Node: "c"}
	if got, ok := s.place(2); !ok || got != "b" {
		t.Errorf("got %q, want the first by name", got)
	}
	s.Volumes[2], s.Volumes[3] = Volume{Node: "b"}, Volume{Node: "d"}
	if got, ok := s.place(4); ok {
		t.Errorf("got %q: two members on one node", got)
	}
}
