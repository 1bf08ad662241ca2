package etcd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

// resize adds the next member, or removes the second of two, which is worse than one:
// either one's loss is the quorum's. So the second is added only when the third has a
// place too. Three that lost a node wait for another.
func (s State) resize() (Step, bool) {
	have, want, well := len(s.Members), s.size(), s.healthyBut(0)
	if last, ours := ordinalOf(s.Members[have-1]); have == 2 && want == 1 && ours && well == have {
		return Step{Do: Remove, Ordinal: last, Member: s.Members[have-1].ID}, true
	}
	if have >= want {
		if well < have {
			return s.ill(fmt.Sprintf("%d of %d members of etcd are well", well, have), s.unwell()), true
		}
		return s.spare()
	}
	if well < have {
		return s.ill("etcd gets another member when all that it has are well", s.unwell()), true
	}
	next := 0
	for _, found := s.member(next); found; _, found = s.member(next) {
		next++
	}
	missing, free := want-have, len(s.places(next))
	if s.onlyMoves() {
		missing = 1
	}
	if free < missing {
		if step, found := s.spare(); found {
			return step, true
		}
		return Step{Do: Wait, Act: true, Why: fmt.Sprintf("etcd needs a node for each of %d more members, and %d can take one now: ready, not cordoned, and without a taint", missing, free)}, true
	}
	return Step{Do: AddMember, Ordinal: next}, true
}

// size is the number of members that there should be: three where as many nodes can have
// one for good, whether they take it just now or not.
func (s State) size() int {
	nodes := 0
	for _, n := range s.Nodes {
		if n.Suits || n.Counts && s.holds(n) {
			nodes++
		}
	}
	switch {
	case nodes >= 3:
		return 3
	case s.onlyMoves():
		return 2
	}
	return 1
}

// onlyMoves tells whether the only member is to leave its node for another, which takes a
// second one: it could not be replaced once it is gone.
func (s State) onlyMoves() bool {
	if len(s.Members) != 1 || !s.Local {
		return false
	}
	only, _ := ordinalOf(s.Members[0])
	_, free := s.place(only)
	return free && s.leaves(s.Volumes[only])
}

// moves tells whether a pod, which its volume follows, is to leave its node.
func (s State) moves(node string) bool {
	i := s.node(node)
	return i >= 0 && !s.Nodes[i].Counts && slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.Takes })
}

// holds tells whether a member is on a node.
func (s State) holds(n Node) bool {
	return slices.ContainsFunc(s.Members, func(m members.Member) bool {
		ordinal, _ := ordinalOf(m)
		volume, exists := s.Volumes[ordinal]
		return exists && volume.Node == n.Name && !s.lost(volume) || s.Pods[ordinal].Node == n.Name
	})
}

// homeless tells whether a learner that never began is on no node, and none takes it:
// waiting for one it would keep everything else waiting.
func (s State) homeless(learner members.Member) bool {
	ordinal, _ := ordinalOf(learner)
	_, placed := s.Volumes[ordinal]
	if !s.Local {
		placed = s.Pods[ordinal].Node != ""
	}
	_, free := s.place(ordinal)
	return learner.Name == "" && !placed && !free
}

// createVolume places a volume, or waits for a node.
func (s State) createVolume(ordinal int, member members.ID) Step {
	node, found := s.place(ordinal)
	if !found {
		return Step{Do: Wait, Act: true, Why: "etcd needs a node for " + podName(ordinal)}
	}
	return Step{Do: CreateVolume, Ordinal: ordinal, Node: node, Member: member}
}

// place finds a node without another member, if it can in a zone without one.
func (s State) place(ordinal int) (string, bool) {
	zones := map[string]bool{}
	for other, volume := range s.Volumes {
		if i := s.node(volume.Node); other != ordinal && i >= 0 {
			zones[s.Nodes[i].Zone] = true
		}
	}
	free := s.places(ordinal)
	if len(free) == 0 {
		return "", false
	}
	best := slices.MinFunc(free, func(a, b Node) int {
		if zones[a.Zone] != zones[b.Zone] {
			if zones[b.Zone] {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return best.Name, true
}

// places are the nodes that take a member and have no other. One where another's data is
// lost is no place: the other's pod may be there still, and comes back there.
func (s State) places(ordinal int) []Node {
	used := map[string]bool{}
	for other, volume := range s.Volumes {
		used[volume.Node] = used[volume.Node] || other != ordinal || !s.lost(volume)
	}
	for _, m := range s.Members {
		if other, ours := ordinalOf(m); ours && other != ordinal {
			used[s.Pods[other].Node] = true
		}
	}
	var free []Node
	for _, n := range s.Nodes {
		if n.Takes && !used[n.Name] {
			free = append(free, n)
		}
	}
	return free
}
