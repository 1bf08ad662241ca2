package etcd

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

// State is what Next decides on.
type State struct {
	Namespace string
	// Local volumes are ours to make, each on one node.
	Local bool
	// Nodes are those that there are.
	Nodes []Node
	// Begun is nil before the ConfigMap is there.
	Begun *Bootstrap
	// Replicas are those of the StatefulSet.
	Replicas int
	// Answers tells whether etcd told its Members.
	Answers bool
	Members []members.Member
	// Volumes, of local mode, and Pods are by ordinal.
	Volumes map[int]Volume
	Pods    map[int]Pod
}

// Node is one that exists.
type Node struct {
	Name, Zone string
	UID        types.UID
	// Counts tells that servers run there: it matches the nodeSelector, and is not
	// out of service.
	Counts bool
	// Takes tells that a new member may go there: it counts, is ready, and not
	// cordoned or tainted.
	Takes bool
	// Cordoned nodes may be about to go.
	Cordoned bool
	// Lost nodes are out of service: what runs there never comes back.
	Lost bool
}

// Bootstrap is what the ConfigMap tells members that have no data.
type Bootstrap struct {
	// Cluster are the members, as --initial-cluster takes them.
	Cluster string
	// Existing clusters have answered: nobody begins them again.
	Existing bool
}

// Volume is a directory of a node.
type Volume struct {
	Node string
	// Member is whose it is; 0 for the first of a cluster that has not answered yet.
	Member members.ID
	// NodeUID tells the node from a later one of its name, which has another disk; ""
	// while it is not known.
	NodeUID types.UID
}

// Pod is a member's process.
type Pod struct {
	Ready, Deleting bool
	// Outdated pods are not as the StatefulSet would make them now.
	Outdated bool
	// Broken ones have not been ready for so long that they will not be by themselves.
	Broken bool
}

// Action is a kind of step.
type Action string

// The kinds of steps, and which fields of a Step they use.
const (
	Wait           Action = "wait"            // Why, Act
	WriteBootstrap Action = "write bootstrap" // Bootstrap
	CreateVolume   Action = "create volume"   // Ordinal, Node, Member (0: the first)
	MarkVolume     Action = "mark volume"     // Ordinal, Member; with the UID of its node
	DeleteVolume   Action = "delete volume"   // Ordinal
	Scale          Action = "scale"           // Ordinal: the highest
	AddMember      Action = "add member"      // Ordinal
	Promote        Action = "promote member"  // Ordinal, Member
	Remove         Action = "remove member"   // Ordinal, Member
	Restart        Action = "restart pod"     // Ordinal
)

// Step is the one thing to do now.
type Step struct {
	Do        Action
	Ordinal   int
	Member    members.ID
	Node      string
	Bootstrap Bootstrap
	// Why tells what is waited for; "" when all is well. Act: a person must do
	// something.
	Why string
	Act bool
}

// Next decides.
func Next(s State) Step {
	if !s.Answers {
		return s.withoutAnswer()
	}
	for _, m := range s.Members {
		if _, ours := ordinalOf(m); !ours {
			return Step{Do: Wait, Act: true, Why: fmt.Sprintf("etcd has a member %q that the operator did not make: nothing is changed. Is a static deployment still there?", m.Name)}
		}
	}
	if told := (Bootstrap{initialCluster(s.Members), true}); s.Begun == nil || *s.Begun != told {
		return Step{Do: WriteBootstrap, Bootstrap: told}
	}
	for _, next := range []func() (Step, bool){s.volumes, s.learner, s.leaving, s.outdated, s.stuck, s.resize} {
		if step, found := next(); found {
			return step
		}
	}
	return Step{Do: Wait}
}

// withoutAnswer begins a cluster, and mends what keeps it from answering.
func (s State) withoutAnswer() Step {
	if s.Begun == nil {
		return Step{Do: WriteBootstrap, Bootstrap: Bootstrap{Cluster: podName(0) + "=" + peerURL(s.Namespace, 0)}}
	}
	first, exists := s.Volumes[0]
	switch {
	case s.Local && !s.Begun.Existing && exists && s.lost(first):
		return Step{Do: DeleteVolume}
	case s.Local && !s.Begun.Existing && !exists:
		return s.createVolume(0, 0)
	case s.Replicas == 0:
		return Step{Do: Scale, Ordinal: 0}
	}
	if ordinal, found := s.broken(); found { // whoever is away: there is no quorum to keep
		return Step{Do: Restart, Ordinal: ordinal}
	}
	if lost := s.lostVolumes(); len(lost) > 0 && s.Begun.Existing {
		return Step{Do: Wait, Act: true, Why: fmt.Sprintf("etcd has lost its quorum: the data of %s was on nodes that are gone. Bring one of them back, or begin again as docs/etcd.md says", strings.Join(lost, ", "))}
	}
	return Step{Do: Wait, Why: "etcd does not answer"}
}

// volumes keeps what is known of the volumes right.
func (s State) volumes() (Step, bool) {
	for _, ordinal := range s.ordinals() {
		volume, exists := s.Volumes[ordinal]
		if !exists {
			continue
		}
		member, found := s.member(ordinal)
		switch {
		case found && volume.Member == member.ID && s.isAnew(volume):
			return Step{Do: MarkVolume, Ordinal: ordinal, Member: member.ID}, true
		case found && volume.Member == member.ID:
			continue
		}
		// One that runs with it has another id after a backup was restored there.
		if found && (volume.Member == 0 || member.Name != "") {
			return Step{Do: MarkVolume, Ordinal: ordinal, Member: member.ID}, true
		}
		return Step{Do: DeleteVolume, Ordinal: ordinal}, true
	}
	return Step{}, false
}

// isAnew tells whether the volume's node is the one that it always was, though the volume
// does not say so: that was made before UIDs were kept. A node that has registered anew
// counts as another one also where its member is well: one that lost its data can be, and
// has forgotten what it had acknowledged.
func (s State) isAnew(v Volume) bool {
	i := s.node(v.Node)
	return i >= 0 && s.Nodes[i].UID != v.NodeUID && v.NodeUID == ""
}

// learner goes on with the member that is joining.
func (s State) learner() (Step, bool) {
	for _, m := range s.Members {
		ordinal, ours := ordinalOf(m)
		if !m.Learner || !ours {
			continue
		}
		volume, exists := s.Volumes[ordinal]
		pod := s.Pods[ordinal]
		switch {
		case s.Local && exists && s.lost(volume):
			return Step{Do: Remove, Ordinal: ordinal, Member: m.ID}, true
		case s.Local && !exists:
			return s.createVolume(ordinal, m.ID), true
		case s.Replicas <= ordinal:
			return Step{Do: Scale, Ordinal: ordinal}, true
		case m.Healthy:
			return Step{Do: Promote, Ordinal: ordinal, Member: m.ID}, true
		case pod.Outdated && !pod.Deleting:
			return Step{Do: Restart, Ordinal: ordinal}, true
		}
		return Step{Do: Wait, Why: podName(ordinal) + " is joining etcd"}, true
	}
	return Step{}, false
}

// leaving removes a member that cannot, or is not to, stay where it is, where another
// can take its place and the others stay a quorum.
func (s State) leaving() (Step, bool) {
	for _, m := range s.toLeave() {
		ordinal, _ := ordinalOf(m)
		if _, found := s.place(ordinal); found || len(s.Members) <= 2 {
			return Step{Do: Remove, Ordinal: ordinal, Member: m.ID}, true
		}
	}
	return Step{}, false
}

// stuck tells of a member that is to leave and has nowhere to go. All that can be done
// meanwhile was done before.
func (s State) stuck() (Step, bool) {
	for _, m := range s.toLeave() {
		ordinal, _ := ordinalOf(m)
		return Step{Do: Wait, Act: true, Why: fmt.Sprintf("%s is to leave node %s, and there is no other for it", podName(ordinal), s.Volumes[ordinal].Node)}, true
	}
	return Step{}, false
}

// toLeave are the members that are to leave their nodes, without each of which the
// others are a quorum.
func (s State) toLeave() []members.Member {
	have := len(s.Members)
	if s.healthyBut(0) < have/2+1 {
		return nil // outdated pods may be what is wrong with them
	}
	return slices.DeleteFunc(slices.Clone(s.Members), func(m members.Member) bool {
		ordinal, ours := ordinalOf(m)
		volume, exists := s.Volumes[ordinal]
		return !ours || !exists || !s.leaves(volume) || s.healthyBut(m.ID) < (have-1)/2+1
	})
}

// broken finds a pod that may run when it is made as it should be now.
func (s State) broken() (ordinal int, found bool) {
	for _, ordinal := range s.ordinals() {
		pod := s.Pods[ordinal]
		if member, _ := s.member(ordinal); pod.Outdated && pod.Broken && !pod.Deleting && !member.Healthy {
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

// outdated replaces pods one after another: those that are broken first, others only
// while every member is well.
func (s State) outdated() (Step, bool) {
	if ordinal, found := s.broken(); found && !s.replacing() {
		return Step{Do: Restart, Ordinal: ordinal}, true
	}
	well := s.healthyBut(0) == len(s.Members)
	for _, pod := range s.Pods {
		well = well && pod.Ready && !pod.Deleting
	}
	for _, ordinal := range s.ordinals() {
		if well && s.Pods[ordinal].Outdated {
			return Step{Do: Restart, Ordinal: ordinal}, true
		}
	}
	return Step{}, false
}

// resize adds the next member, or removes the second of two, which is worse than one:
// either one's loss is the quorum's. Three that lost a node wait for another.
func (s State) resize() (Step, bool) {
	have, well := len(s.Members), s.healthyBut(0)
	if last, ours := ordinalOf(s.Members[have-1]); have == 2 && s.size() == 1 && s.Local && ours && well == have {
		return Step{Do: Remove, Ordinal: last, Member: s.Members[have-1].ID}, true
	}
	if have >= s.size() {
		if well < have {
			return Step{Do: Wait, Why: fmt.Sprintf("%d of %d members of etcd are well", well, have)}, true
		}
		return Step{}, false
	}
	next := 0
	for _, found := s.member(next); found; _, found = s.member(next) {
		next++
	}
	if well < have {
		return Step{Do: Wait, Why: "etcd gets another member when all that it has are well"}, true
	}
	if _, found := s.place(next); s.Local && !found {
		return Step{Do: Wait, Act: true, Why: "etcd needs a node for " + podName(next)}, true
	}
	return Step{Do: AddMember, Ordinal: next}, true
}

// size is the number of members that there should be. A second one is for a move of
// the only one, which could not be replaced once it is gone.
func (s State) size() int {
	nodes := 0
	for _, n := range s.Nodes {
		if n.Counts {
			nodes++
		}
	}
	if nodes >= 3 {
		return 3
	}
	if len(s.Members) == 1 && s.Local {
		only, _ := ordinalOf(s.Members[0])
		if _, free := s.place(only); free && s.leaves(s.Volumes[only]) {
			return 2
		}
	}
	return 1
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
	used, zones := map[string]bool{}, map[string]bool{}
	for other, volume := range s.Volumes {
		used[volume.Node] = used[volume.Node] || !s.lost(volume)
		if i := s.node(volume.Node); other != ordinal && i >= 0 {
			zones[s.Nodes[i].Zone] = true
		}
	}
	var best *Node
	for i, n := range s.Nodes {
		if !n.Takes || used[n.Name] {
			continue
		}
		if best == nil || zones[best.Zone] && !zones[n.Zone] || zones[best.Zone] == zones[n.Zone] && n.Name < best.Name {
			best = &s.Nodes[i]
		}
	}
	if best == nil {
		return "", false
	}
	return best.Name, true
}

// ordinals are those that anything is known of, in order.
func (s State) ordinals() []int {
	var all []int
	for ordinal := range s.Volumes {
		all = append(all, ordinal)
	}
	for ordinal := range s.Pods {
		all = append(all, ordinal)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (s State) member(ordinal int) (members.Member, bool) {
	for _, m := range s.Members {
		if of, ours := ordinalOf(m); ours && of == ordinal {
			return m, true
		}
	}
	return members.Member{}, false
}

// healthyBut counts the members that are well, but for one.
func (s State) healthyBut(id members.ID) int {
	n := 0
	for _, m := range s.Members {
		if m.Healthy && m.ID != id {
			n++
		}
	}
	return n
}

func (s State) node(name string) int {
	return slices.IndexFunc(s.Nodes, func(n Node) bool { return n.Name == name })
}

// gone tells whether what is on a node never comes back.
func (s State) gone(node string) bool {
	i := s.node(node)
	return i < 0 || s.Nodes[i].Lost
}

// lost tells whether a volume's data never comes back, also where another node has the
// name of its own.
func (s State) lost(v Volume) bool {
	i := s.node(v.Node)
	return s.gone(v.Node) || v.NodeUID != "" && s.Nodes[i].UID != v.NodeUID
}

// leaves tells whether a member is to leave its node: that is gone, or no longer one of
// ours, or, where a member could not be replaced afterwards, may be about to go.
func (s State) leaves(v Volume) bool {
	i := s.node(v.Node)
	return s.lost(v) || !s.Nodes[i].Counts || s.Nodes[i].Cordoned && len(s.Members) < 3
}

// lostVolumes are the members whose data is gone.
func (s State) lostVolumes() []string {
	var names []string
	for _, ordinal := range s.ordinals() {
		if volume, exists := s.Volumes[ordinal]; exists && s.lost(volume) {
			names = append(names, podName(ordinal))
		}
	}
	return names
}
