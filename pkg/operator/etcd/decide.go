package etcd

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
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
	// Misplaced tells that the first volume is waited for from a class that is no longer
	// the configuration's.
	Misplaced bool
	// Kept are the ordinals that the StatefulSet has pods for.
	Kept Ordinals
	// Answers tells whether etcd told its Members.
	Answers bool
	Members []members.Member
	// Ill tells that not all of them were well for so long that somebody must look.
	Ill bool
	// Held tells that other images wait until servers have come up with theirs.
	Held bool
	// Volumes, of local mode, and Pods are by ordinal.
	Volumes map[int]Volume
	Pods    map[int]Pod
	// Claims, of pvcPerNode mode, tell whose data is on them; 0: nobody's that is known.
	Claims map[int]members.ID
}

// Node is one that exists.
type Node struct {
	Name, Zone string
	UID        types.UID
	// Counts tells that servers run there: it matches the nodeSelector, and is not
	// out of service.
	Counts bool
	// Suits tells that a member can be there for good: it counts, and bears no taint that
	// keeps members away. A node that is away or cordoned for a while suits.
	Suits bool
	// Takes tells that a new member may go there now: it suits, is ready, and not
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
	// Unclaimed ones had a claim that was deleted; no other is bound to them by itself.
	Unclaimed bool
	// NodeUID tells the node from a later one of its name, which has another disk; ""
	// while it is not known.
	NodeUID types.UID
}

// Pod is a member's process.
type Pod struct {
	// Node is where it runs; "" while none takes it.
	Node            string
	Ready, Deleting bool
	// Outdated pods are not as the StatefulSet would make them now.
	Outdated bool
	// ClaimGoes tells that the claim is being deleted: what is on it goes with the pod.
	ClaimGoes bool
	// ReachableFrom are the nodes that can have its volume; nil: all.
	ReachableFrom []string
	// Empty ones have no data, and wait until the member may start so, for so long that
	// they are not just looking for it.
	Empty bool
	// Away ones are on a node that is not ready.
	Away bool
	// InVain ones have a container that waits for an image, or after it ended with errors.
	InVain bool
	// Broken ones have not been ready for so long, on a node that was, that they will not be
	// by themselves.
	Broken bool
	// Stuck ones have not been for so long that somebody must look.
	Stuck bool
	// Unending ones should have ended long ago.
	Unending bool
	// Trouble is what keeps one from being ready; "" where nothing is known.
	Trouble string
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
	RebindVolume   Action = "rebind volume"   // Ordinal
	MarkClaim      Action = "mark claim"      // Ordinal, Member
	DeleteClaim    Action = "delete claim"    // Ordinal; with its pod
	MakeAnew       Action = "make anew"       // the StatefulSet, with its first pod and claim
	Scale          Action = "scale"           // Keep
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
	Keep      Ordinals
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
	for _, next := range []func() (Step, bool){s.replicas, s.volumes, s.claims, s.learner, s.leaving, s.restarts, s.lastCopies, s.stuck, s.resize, s.cannotReturn} {
		if step, found := next(); found {
			return step
		}
	}
	return Step{Do: Wait}
}

// withoutAnswer begins a cluster, and mends what keeps it from answering.
func (s State) withoutAnswer() Step {
	if known := s.known(); len(known) > 0 && (s.Begun == nil || !s.Begun.Existing) {
		return Step{Do: WriteBootstrap, Bootstrap: Bootstrap{initialCluster(known), true}}
	}
	if s.Begun == nil {
		return Step{Do: WriteBootstrap, Bootstrap: Bootstrap{Cluster: podName(0) + "=" + peerURL(s.Namespace, 0)}}
	}
	first, exists := s.Volumes[0]
	switch {
	case !s.Begun.Existing && s.Misplaced:
		return Step{Do: MakeAnew}
	case s.Local && !s.Begun.Existing && exists && s.lost(first):
		return Step{Do: DeleteVolume}
	case s.Local && !s.Begun.Existing && !exists:
		return s.createVolume(0, 0)
	}
	if step, found := s.rebind(); found {
		return step
	}
	if step, found := s.replicas(); found {
		return step
	}
	if ordinal, found := s.broken(); found { // whoever is away: there is no quorum to keep
		return Step{Do: Restart, Ordinal: ordinal}
	}
	if step, found := s.lastCopies(); found {
		return step
	}
	if lost := s.lostVolumes(); len(lost) > 0 && s.Begun.Existing {
		return Step{Do: Wait, Act: true, Why: fmt.Sprintf("etcd has lost its quorum: the data of %s was on nodes that are gone. Bring one of them back, or begin again as docs/etcd.md says", strings.Join(lost, ", "))}
	}
	return s.ill("etcd does not answer", s.begun())
}

// ill waits for members that are not well. When that takes long a person is told, and what
// is in their way.
func (s State) ill(what string, unwell []int) Step {
	what += s.troubles(unwell...)
	if s.Ill && s.Held {
		what += ". Its pods keep their images until servers have come up with the next: docs/etcd.md says how to give them those at once"
	}
	if s.Ill {
		what += fmt.Sprintf(". Look at `kubectl -n %s describe pod,pvc -l app.kubernetes.io/component=%s`, and at docs/etcd.md if data is lost", s.Namespace, component)
	}
	return Step{Do: Wait, Act: s.Ill, Why: what}
}

// troubles is what is in the way of members, to follow what is said of them.
func (s State) troubles(of ...int) string {
	var all []string
	for _, ordinal := range of {
		member, _ := s.member(ordinal)
		for _, trouble := range []string{s.Pods[ordinal].Trouble, member.Trouble} {
			if trouble != "" {
				all = append(all, podName(ordinal)+": "+trouble)
			}
		}
	}
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, "; ") + ")"
}

// unwell are the members that are not.
func (s State) unwell() []int {
	var all []int
	for _, m := range s.Members {
		if ordinal, ours := ordinalOf(m); ours && !m.Healthy {
			all = append(all, ordinal)
		}
	}
	return all
}

// begun are the members that the ConfigMap knows; the first, if it knows none.
func (s State) begun() []int {
	if s.Begun == nil {
		return nil
	}
	if all := ordinalsOf(s.Begun.Cluster); len(all) > 0 {
		return all
	}
	return []int{0}
}

// known are the members that volumes and claims tell of. While there are any, what the
// ConfigMap says that was there, or was not, begins no other cluster beside them.
func (s State) known() []members.Member {
	var all []members.Member
	for _, ordinal := range s.ordinals() {
		if s.Volumes[ordinal].Member != 0 || s.Claims[ordinal] != 0 {
			all = append(all, members.Member{PeerURL: peerURL(s.Namespace, ordinal)})
		}
	}
	return all
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
		case found && volume.Member == member.ID && volume.Unclaimed && !s.lost(volume):
			return Step{Do: RebindVolume, Ordinal: ordinal}, true
		case found && volume.Member == member.ID:
			continue
		}
		// One that runs with it has another id after a backup was restored there.
		if found && (volume.Member == 0 || member.Name != "") {
			return Step{Do: MarkVolume, Ordinal: ordinal, Member: member.ID}, true
		}
		return s.discard(DeleteVolume, ordinal), true
	}
	return Step{}, false
}

// rebind gives members their volumes again whose claims were deleted, if the first member's is
// among them: that last, so that a crash only repeats it. Where the first has kept its claim, a
// snapshot may have been restored there, and no older data may come back.
func (s State) rebind() (Step, bool) {
	begun := s.begun()
	for _, ordinal := range slices.Backward(begun) {
		first, volume := s.Volumes[begun[0]], s.Volumes[ordinal]
		if first.Unclaimed && volume.Unclaimed && !s.lost(volume) {
			return Step{Do: RebindVolume, Ordinal: ordinal}, true
		}
	}
	return Step{}, false
}

// claims keeps what is known of the claims right. One whose member was removed goes: on
// what that left the next member would never start.
func (s State) claims() (Step, bool) {
	for _, ordinal := range s.ordinals() {
		of, exists := s.Claims[ordinal]
		member, found := s.member(ordinal)
		switch {
		case !exists || found && of == member.ID:
			continue
		// A new learner's before it starts: if it is removed, its data is not taken for the
		// next member's.
		case found && (member.Healthy || of == 0 && member.Learner && member.Name == ""):
			return Step{Do: MarkClaim, Ordinal: ordinal, Member: member.ID}, true
		case of != 0 && member.Name == "": // removed, or added since
			return s.discard(DeleteClaim, ordinal), true
		}
	}
	return Step{}, false
}

// discard deletes what a removed member leaves, which goes when its pod has ended. Only its
// node ends that, while there is one that may come back.
func (s State) discard(do Action, ordinal int) Step {
	pod := s.Pods[ordinal]
	volume, exists := s.Volumes[ordinal]
	if !pod.Unending || s.gone(pod.Node) || exists && s.lost(volume) {
		return Step{Do: do, Ordinal: ordinal}
	}
	return Step{Do: Wait, Act: true, Why: fmt.Sprintf("%s was removed from etcd, and its pod does not end on node %s, so that no other takes its place: see to that node, or, if its machine is off for good, say so with `%s`", podName(ordinal), pod.Node, specs.SaysOff(pod.Node))}
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
		case s.Local && exists && s.lost(volume), s.homeless(m), m.Name != "" && pod.Empty && !m.Healthy && !pod.Deleting:
			return Step{Do: Remove, Ordinal: ordinal, Member: m.ID}, true
		case s.Local && !exists:
			return s.createVolume(ordinal, m.ID), true
		case m.Healthy:
			return Step{Do: Promote, Ordinal: ordinal, Member: m.ID}, true
		case pod.Outdated && !pod.Deleting:
			return Step{Do: Restart, Ordinal: ordinal}, true
		case pod.Stuck:
			return Step{Do: Wait, Act: true, Why: fmt.Sprintf("%s joins etcd and does not come up%s, and until it does nothing else of etcd is changed: look at `kubectl -n %s describe pod %[1]s` and its log", podName(ordinal), s.troubles(ordinal), s.Namespace)}, true
		}
		return Step{Do: Wait, Why: podName(ordinal) + " is joining etcd"}, true
	}
	return Step{}, false
}

// leaving removes a member that cannot, or is not to, stay where it is, where another
// can take its place and the others stay a quorum; and one that has lost its data, whose
// pod never starts it again.
func (s State) leaving() (Step, bool) {
	for _, m := range s.toLeave() {
		ordinal, _ := ordinalOf(m)
		if _, found := s.place(ordinal); found || len(s.Members) <= 2 || s.isEmpty(m) {
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
		leaves := exists && s.leaves(volume) || s.isEmpty(m)
		return !ours || !leaves || s.healthyBut(m.ID) < (have-1)/2+1
	})
}

// isEmpty tells whether a member that votes has lost its data.
func (s State) isEmpty(m members.Member) bool {
	ordinal, _ := ordinalOf(m)
	pod := s.Pods[ordinal]
	return !m.Learner && !m.Healthy && pod.Empty && pod.Broken && !pod.Deleting
}

// ordinals are those that anything is known of, in order.
func (s State) ordinals() []int {
	var all []int
	for ordinal := range s.Volumes {
		all = append(all, ordinal)
	}
	for ordinal := range s.Claims {
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
