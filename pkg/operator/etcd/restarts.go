package etcd

import (
	"fmt"
	"slices"
	"strings"
)

// restarts has pods made anew that are not as they should be, one after another: those that
// are broken first, others only while every member is well.
func (s State) restarts() (Step, bool) {
	if ordinal, found := s.broken(); found && !s.replacing() {
		return Step{Do: Restart, Ordinal: ordinal}, true
	}
	if s.healthyBut(0) < len(s.Members) {
		return Step{}, false
	}
	for _, pod := range s.Pods {
		if !pod.Ready || pod.Deleting {
			return Step{}, false
		}
	}
	for _, ordinal := range s.ordinals() {
		if s.Pods[ordinal].Outdated && !s.holdsLastCopy(ordinal) && s.returns(ordinal) {
			return Step{Do: Restart, Ordinal: ordinal}, true
		}
	}
	return Step{}, false
}

// broken finds a pod that may run when it is made as it should be now. Not one whose node is
// away, with which it comes back; nor any while one that is as it should be does not run: the
// others may only be without a quorum.
func (s State) broken() (ordinal int, found bool) {
	for _, pod := range s.Pods {
		if !pod.Outdated && pod.Broken && pod.InVain && !pod.Away {
			return 0, false
		}
	}
	for _, ordinal := range s.ordinals() {
		pod := s.Pods[ordinal]
		if member, _ := s.member(ordinal); pod.Outdated && pod.Broken && !pod.Away && !pod.Deleting && !member.Healthy && !s.holdsLastCopy(ordinal) {
			return ordinal, true
		}
	}
	return 0, false
}

// replacing tells whether a pod is ending that may still be a member. One that is broken
// is none: on a node without power it ends for as long as that is away.
func (s State) replacing() bool {
	for _, pod := range s.Pods {
		if pod.Deleting && !pod.Broken {
			return true
		}
	}
	return false
}

// holdsLastCopy tells whether a member's data would go with its pod, and may be all that there
// is of the registry.
func (s State) holdsLastCopy(ordinal int) bool {
	return s.Pods[ordinal].ClaimGoes && (!s.Answers || len(s.Members) < 3)
}

// returns tells whether a pod that is made anew would be taken by a node.
func (s State) returns(ordinal int) bool {
	if s.Local { // where its volume is, also while that node is cordoned
		i := s.node(s.Volumes[ordinal].Node)
		return i >= 0 && s.Nodes[i].Suits
	}
	pod := s.Pods[ordinal]
	i := s.node(pod.Node)
	return i >= 0 && s.Nodes[i].Takes || slices.ContainsFunc(s.places(ordinal), func(n Node) bool { return pod.canBeOn(n.Name) })
}

func (p Pod) canBeOn(node string) bool {
	return p.ReachableFrom == nil || slices.Contains(p.ReachableFrom, node)
}

// lastCopies tells of members whose data goes with their pods, where that may be all that there
// is. Another member, where there can be one, would have it too; and where etcd does not
// answer, so may those that keep theirs.
func (s State) lastCopies() (Step, bool) {
	var claims []string
	for _, ordinal := range s.ordinals() {
		if s.holdsLastCopy(ordinal) {
			claims = append(claims, claimName(ordinal))
		}
	}
	if len(claims) == 0 {
		return Step{}, false
	}
	if s.Answers {
		if step, _ := s.resize(); step.Do == AddMember {
			return Step{}, false
		}
	} else if all := len(s.begun()); all-len(claims) > all/2 {
		return Step{}, false
	}
	return Step{Do: Wait, Act: true, Why: fmt.Sprintf("somebody deleted the PersistentVolumeClaim %s: the registry goes with the pod that has it, which is not made anew. Copy its last snapshot while the pod runs; docs/etcd.md says how to begin again", strings.Join(claims, ", "))}, true
}

// cannotReturn tells of a pod that should be made anew, and that no node would take then.
func (s State) cannotReturn() (Step, bool) {
	for _, ordinal := range s.ordinals() {
		if pod := s.Pods[ordinal]; pod.Ready && pod.Outdated && !s.returns(ordinal) {
			return Step{Do: Wait, Act: true, Why: fmt.Sprintf("%s is to be made anew and goes on as it is, as no node would take it: one has to be ready, not cordoned, without a taint and another member, and within reach of its volume", podName(ordinal))}, true
		}
	}
	return Step{}, false
}
