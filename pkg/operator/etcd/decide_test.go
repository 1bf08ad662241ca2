package etcd

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

const namespace = "dotmesh"

// voter, learner and added are members by their ordinal, which is also their id's
// last digit.
func voter(ordinal int) members.Member {
	return members.Member{ID: members.ID(100 + ordinal), Name: podName(ordinal), PeerURL: peerURL(namespace, ordinal), Healthy: true}
}

func learner(ordinal int) members.Member {
	m := voter(ordinal)
	m.Learner = true
	return m
}

func added(ordinal int) members.Member {
	m := learner(ordinal)
	m.Name, m.Healthy = "", false
	return m
}

func down(m members.Member) members.Member {
	m.Healthy = false
	return m
}

func nodes(names ...string) []Node {
	var all []Node
	for _, name := range names {
		all = append(all, Node{Name: name, Counts: true, Suits: true, Takes: true})
	}
	return all
}

// running is a local cluster, member i on the i-th node.
func running(on []Node, all ...members.Member) State {
	s := State{
		Namespace: namespace, Local: true, Nodes: on, Kept: Ordinals{Count: len(all)}, Answers: true, Members: all,
		Begun:   &Bootstrap{initialCluster(all), true},
		Volumes: map[int]Volume{}, Pods: map[int]Pod{},
	}
	for i, m := range all {
		node := string(rune('a' + i))
		s.Volumes[i] = Volume{Node: node, Member: m.ID}
		s.Pods[i] = Pod{Node: node, Ready: m.Healthy && !m.Learner}
	}
	return s
}

// replaced has another machine under the name of the third member's node.
func replaced(s State) State {
	for i := range s.Nodes {
		s.Nodes[i].UID = "uid-" + types.UID(s.Nodes[i].Name)
		s.Volumes[i] = Volume{Node: s.Nodes[i].Name, Member: s.Members[i].ID, NodeUID: s.Nodes[i].UID}
	}
	s.Nodes[2].UID = "another"
	s.Members[2] = down(s.Members[2])
	return s
}

// emptied has the third member wait with nothing on its disk.
func emptied(s *State) {
	s.Members[2] = down(s.Members[2])
	s.Pods[2] = Pod{Empty: true, Broken: true}
}

// claimed is three on volumes of the class's.
func claimed() State {
	s := three()
	s.Local, s.Volumes = false, nil
	s.Claims = map[int]members.ID{0: 100, 1: 101, 2: 102}
	return s
}

func cordon(n *Node) { n.Cordoned, n.Takes = true, false }

func notReady(n *Node) { n.Takes = false }

func with(s State, change func(*State)) State {
	change(&s)
	return s
}

// decision is a state and the step that it leads to, with what matters of it.
type decision struct {
	what string
	s    State
	want string
}

func decide(t *testing.T, decisions []decision) {
	t.Helper()
	for _, tt := range decisions {
		t.Run(tt.what, func(t *testing.T) {
			got := text(Next(tt.s))
			if got != tt.want && (!strings.HasPrefix(got, tt.want) || tt.want == "wait") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func three() State { return running(nodes("a", "b", "c"), voter(0), voter(1), voter(2)) }

func silent(s *State) { s.Answers, s.Members = false, nil }

func TestBeginningAndGrowing(t *testing.T) {
	begun := func() State {
		return State{Namespace: namespace, Local: true, Nodes: nodes("a", "b", "c"), Begun: &Bootstrap{Cluster: "x"}}
	}
	decide(t, []decision{
		// Beginning.
		{"nothing is there", State{Namespace: namespace, Local: true, Nodes: nodes("a")}, "write bootstrap dotmesh-etcd-cluster-0=https://dotmesh-etcd-cluster-0.dotmesh-etcd-cluster.dotmesh.svc:2380 new"},
		{"begun, no volume", begun(), "create volume 0 on a for 0"},
		{"begun, no node", with(begun(), func(s *State) { s.Nodes = nil }), "wait, act: etcd needs a node"},
		{"begun, a volume", with(begun(), func(s *State) { s.Volumes = map[int]Volume{0: {Node: "a"}} }), "scale 0"},
		{"begun, the volume's node gone", with(begun(), func(s *State) { s.Volumes = map[int]Volume{0: {Node: "z"}} }), "delete volume 0"},
		{"begun, volumes are the class's", with(begun(), func(s *State) { s.Local = false }), "scale 0"},
		{"starting", with(begun(), func(s *State) { s.Volumes, s.Kept = map[int]Volume{0: {Node: "a"}}, Ordinals{Count: 1} }), "wait: etcd does not answer"},
		{"on a class that is no longer the configuration's", with(begun(), func(s *State) { s.Local, s.Misplaced, s.Kept.Count = false, true, 1 }), "make anew 0"},
		{"it has answered on that", with(running(nodes("a"), voter(0)), func(s *State) { silent(s); s.Local, s.Misplaced, s.Volumes = false, true, nil }), "wait: etcd does not answer"},
		{"it answers on that", with(running(nodes("a"), voter(0)), func(s *State) { s.Local, s.Misplaced, s.Volumes = false, true, nil }), "wait"},
		{"it answers", with(running(nodes("a"), voter(0)), func(s *State) { s.Begun.Existing = false }), "write bootstrap dotmesh-etcd-cluster-0=https://dotmesh-etcd-cluster-0.dotmesh-etcd-cluster.dotmesh.svc:2380 existing"},
		{"the first's volume", with(running(nodes("a"), voter(0)), func(s *State) { s.Volumes[0] = Volume{Node: "a"} }), "mark volume 0 of 100"},

		// How many.
		{"one node", running(nodes("a"), voter(0)), "wait"},
		{"two nodes", running(nodes("a", "b"), voter(0)), "wait"},
		{"three nodes", running(nodes("a", "b", "c"), voter(0)), "add member 1"},
		{"three nodes, the first not well", running(nodes("a", "b", "c"), down(voter(0))), "wait: etcd gets another member when"},
		{"three nodes, two voters", running(nodes("a", "b", "c"), voter(0), voter(1)), "add member 2"},
		{"three nodes, one cordoned", with(running(nodes("a", "b", "c"), voter(0), voter(1)), func(s *State) { cordon(&s.Nodes[2]) }), "wait, act: etcd needs a node"},
		{"three nodes, the second member is on a cordoned one", with(running(nodes("a", "b", "c"), voter(0), voter(1)), func(s *State) { cordon(&s.Nodes[1]) }), "remove member 1 101"},
		{"three members, one on a cordoned node", with(running(nodes("a", "b", "c", "d"), voter(0), voter(1), voter(2)), func(s *State) { cordon(&s.Nodes[1]) }), "wait"},
		{"two nodes, two voters", running(nodes("a", "b"), voter(0), voter(1)), "remove member 1 101"},
		{"two nodes, two voters, one not well", running(nodes("a", "b"), voter(0), down(voter(1))), "wait: 1 of 2"},
		{"two nodes, one of three voters left on one", running(nodes("a", "b"), voter(0), voter(1), down(voter(2))), "wait, act: dotmesh-etcd-cluster-2 is to leave"},
		{"five nodes, three voters", running(nodes("a", "b", "c", "d", "e"), voter(0), voter(1), voter(2)), "wait"},
		{"one node left of three", with(three(), func(s *State) {
			s.Volumes[1], s.Volumes[2] = Volume{Node: "a", Member: 101}, Volume{Node: "a", Member: 102}
			s.Nodes = nodes("a")
		}), "wait"},

		// Joining.
		{"added, the ConfigMap does not say so", with(running(nodes("a", "b", "c"), voter(0), added(1)), func(s *State) { s.Begun.Cluster = "old" }), "write bootstrap"},
		{"added, no volume", with(running(nodes("a", "b", "c"), voter(0), added(1)), func(s *State) { delete(s.Volumes, 1) }), "create volume 1 on b for 101"},
		{"added, no node", with(running(nodes("a"), voter(0), added(1)), func(s *State) { delete(s.Volumes, 1) }), "remove member 1 101"},
		{"added, no pod", with(running(nodes("a", "b", "c"), voter(0), added(1)), func(s *State) { s.Kept.Count = 1 }), "scale 1"},
		{"added, starting", running(nodes("a", "b", "c"), voter(0), added(1)), "wait: dotmesh-etcd-cluster-1 is joining"},
		{"added, its image is broken and mended", with(running(nodes("a", "b", "c"), voter(0), added(1)), func(s *State) { s.Pods[1] = Pod{Outdated: true} }), "restart pod 1"},
		{"a learner", running(nodes("a", "b", "c"), voter(0), learner(1)), "promote member 1 101"},
		{"added, and does not come up", with(running(nodes("a", "b", "c"), voter(0), added(1)), func(s *State) { s.Pods[1] = Pod{Broken: true, Stuck: true} }), "wait, act: dotmesh-etcd-cluster-1 joins etcd and does not come up"},
		{"a learner's node goes", running(nodes("a"), voter(0), down(learner(1))), "remove member 1 101"},
		{"a volume of the class's provisioner", with(running(nodes("a", "b", "c"), voter(0), added(1)), func(s *State) { s.Local, s.Volumes, s.Kept.Count = false, nil, 1 }), "scale 1"},
	})
}

func TestLosing(t *testing.T) {
	decide(t, []decision{
		// Losing a node.
		{"a node is gone, no other", running(nodes("a", "b"), voter(0), voter(1), down(voter(2))), "wait, act: dotmesh-etcd-cluster-2 is to leave node c"},
		{"a node is gone, another there", running(nodes("a", "b", "d"), voter(0), voter(1), down(voter(2))), "remove member 2 102"},
		{"a node is out of service", with(running(nodes("a", "b", "c", "d"), voter(0), voter(1), down(voter(2))), func(s *State) { s.Nodes[2] = Node{Name: "c", Lost: true} }), "remove member 2 102"},
		{"a node is only not ready", with(running(nodes("a", "b", "c", "d"), voter(0), voter(1), down(voter(2))), func(s *State) { s.Nodes[2].Takes = false }), "wait: 2 of 3 members of etcd are well"},
		{"a node left the selector", with(running(nodes("a", "b", "c", "d"), voter(0), voter(1), voter(2)), func(s *State) { s.Nodes[0] = Node{Name: "a"} }), "remove member 0 100"},
		{"a node is gone and another member down", running(nodes("a", "b", "d"), voter(0), down(voter(1)), down(voter(2))), "wait: 1 of 3"},
		{"one of two members has lost its node", running(nodes("a", "c", "d"), voter(0), down(voter(1))), "wait: etcd gets another member when"},

		// A node that is replaced under its name.
		{"its member is gone, and the place is free", replaced(three()), "remove member 2 102"},
		{"removed, its volume is there", with(replaced(three()), func(s *State) {
			s.Members = s.Members[:2]
			s.Begun.Cluster = initialCluster(s.Members)
		}), "delete volume 2"},
		{"removed, and its volume too", with(replaced(three()), func(s *State) {
			s.Members = s.Members[:2]
			s.Begun.Cluster = initialCluster(s.Members)
			delete(s.Volumes, 2)
		}), "add member 2"},
		{"added again, on the same name", with(replaced(three()), func(s *State) {
			s.Members[2] = added(2)
			s.Begun.Cluster = initialCluster(s.Members)
			delete(s.Volumes, 2)
		}), "create volume 2 on c for 102"},
		{"another is added while its pod may be there", with(running(nodes("a", "b", "d"), voter(0), voter(1), added(2)), func(s *State) {
			s.Nodes[0].UID, s.Volumes[0] = "new", Volume{Node: "a", Member: 100, NodeUID: "old"}
			delete(s.Volumes, 2)
		}), "create volume 2 on d for 102"},
		{"a learner's", with(replaced(three()), func(s *State) {
			s.Members[2] = down(learner(2))
			s.Begun.Cluster = initialCluster(s.Members)
		}), "remove member 2 102"},
		{"another member is down", with(replaced(three()), func(s *State) { s.Members[0] = down(voter(0)) }), "wait: 1 of 3"},
		{"its member is well: it may have forgotten what it acknowledged", with(replaced(three()), func(s *State) { s.Members[2] = voter(2) }), "remove member 2 102"},
		{"a volume of before UIDs were kept", with(three(), func(s *State) { s.Nodes[2].UID = "u" }), "mark volume 2 of 102"},
		{"no answer", with(replaced(three()), silent), "wait, act: etcd has lost its quorum: the data of dotmesh-etcd-cluster-2"},
		{"the first's, before it answered", State{Namespace: namespace, Local: true, Begun: &Bootstrap{Cluster: "x"}, Nodes: []Node{{Name: "a", UID: "new", Counts: true, Takes: true}},
			Volumes: map[int]Volume{0: {Node: "a", NodeUID: "old"}}}, "delete volume 0"},

		// Moving the only member.
		{"its node left the selector", with(running(nodes("a", "b"), voter(0)), func(s *State) { s.Nodes[0] = Node{Name: "a"} }), "add member 1"},
		{"its node is cordoned", with(running(nodes("a", "b"), voter(0)), func(s *State) { cordon(&s.Nodes[0]) }), "add member 1"},
		{"its node is cordoned, no other", with(running(nodes("a"), voter(0)), func(s *State) { cordon(&s.Nodes[0]) }), "wait"},
		{"the second joins", with(running(nodes("a", "b"), voter(0), learner(1)), func(s *State) { cordon(&s.Nodes[0]) }), "promote member 1 101"},
		{"both vote", with(running(nodes("a", "b"), voter(0), voter(1)), func(s *State) { cordon(&s.Nodes[0]) }), "remove member 0 100"},
		{"both vote, the second is not well", with(running(nodes("a", "b"), voter(0), down(voter(1))), func(s *State) { cordon(&s.Nodes[0]) }), "wait: 1 of 2"},
		{"the first is removed", with(running(nodes("a", "b"), voter(0), voter(1)), func(s *State) {
			cordon(&s.Nodes[0])
			s.Members = s.Members[1:]
			s.Begun.Cluster = initialCluster(s.Members)
		}), "delete volume 0"},
		{"moved", with(running(nodes("a", "b"), voter(0), voter(1)), func(s *State) {
			cordon(&s.Nodes[0])
			s.Members = s.Members[1:]
			s.Begun.Cluster = initialCluster(s.Members)
			delete(s.Volumes, 0)
		}), "scale 1 to 2"},
		{"moved, and three nodes later", with(running(nodes("a", "b", "c"), voter(0), voter(1)), func(s *State) {
			s.Members = s.Members[1:]
			s.Begun.Cluster = initialCluster(s.Members)
			delete(s.Volumes, 0)
		}), "add member 0"},

		// Others.
		{"removed, its volume is there", with(running(nodes("a", "b", "d"), voter(0), voter(1), voter(2)), func(s *State) {
			s.Members = s.Members[:2]
			s.Begun.Cluster = initialCluster(s.Members)
		}), "delete volume 2"},
		{"removed, its volume is gone", with(running(nodes("a", "b", "d"), voter(0), voter(1)), func(s *State) { s.Kept.Count = 3; s.Pods[2] = Pod{} }), "add member 2"},
		{"added again, its old volume is there", with(running(nodes("a", "b", "d"), voter(0), voter(1), added(2)), func(s *State) { s.Volumes[2] = Volume{Node: "c", Member: 7} }), "delete volume 2"},
		{"a backup was restored in its place", with(running(nodes("a"), voter(0)), func(s *State) { s.Volumes[0] = Volume{Node: "a", Member: 7} }), "mark volume 0 of 100"},

		// Losing the quorum.
		{"no answer", with(three(), silent), "wait: etcd does not answer"},
		{"no answer, nodes gone", with(three(), func(s *State) { silent(s); s.Nodes = nodes("a", "d", "e") }), "wait, act: etcd has lost its quorum: the data of dotmesh-etcd-cluster-1, dotmesh-etcd-cluster-2"},
		{"no answer, broken pods were mended", with(three(), func(s *State) { silent(s); s.Pods[1] = Pod{Outdated: true, Broken: true} }), "restart pod 1"},
		{"no answer, broken pods were mended, one ends for ever", with(three(), func(s *State) {
			silent(s)
			s.Pods[0], s.Pods[1] = Pod{Deleting: true, Broken: true}, Pod{Outdated: true, Broken: true}
		}), "restart pod 1"},
		{"no answer, an outdated pod is slow", with(three(), func(s *State) { silent(s); s.Pods[1] = Pod{Outdated: true} }), "wait: etcd does not answer"},
		{"no answer, an outdated pod is well", with(three(), func(s *State) { silent(s); s.Pods[1] = Pod{Outdated: true, Ready: true} }), "wait: etcd does not answer"},
	})
}

// TestLosingData: it is gone, and the node is not.
func TestLosingData(t *testing.T) {
	decide(t, []decision{
		{"it waits with nothing", with(three(), emptied), "remove member 2 102"},
		{"it waits with nothing on a disk of the class's", with(three(), func(s *State) { emptied(s); s.Local, s.Volumes = false, nil }), "remove member 2 102"},
		{"a claim that nobody is known of", with(claimed(), func(s *State) { s.Claims[1] = 0 }), "mark claim 1 of 101"},
		{"a claim that nobody has begun on", with(claimed(), func(s *State) { s.Claims[2], s.Members[2] = 0, down(voter(2)) }), "wait: 2 of 3"},
		{"removed, and its claim is there", with(claimed(), func(s *State) {
			s.Members = s.Members[:2]
			s.Begun.Cluster = initialCluster(s.Members)
		}), "delete claim 2"},
		{"added again, and its old claim is there", with(claimed(), func(s *State) {
			s.Members[2] = added(2)
			s.Begun.Cluster = initialCluster(s.Members)
			s.Claims[2] = 7
		}), "delete claim 2"},
		{"removed, and the claim is another", with(claimed(), func(s *State) {
			s.Members = s.Members[:2]
			s.Begun.Cluster = initialCluster(s.Members)
			s.Claims[2] = 0
		}), "add member 2"},
		{"added again, on another claim", with(claimed(), func(s *State) {
			s.Members[2] = added(2)
			s.Begun.Cluster = initialCluster(s.Members)
			s.Claims[2] = 0
		}), "mark claim 2 of 102"},
		{"added again, on a claim that is marked", with(claimed(), func(s *State) {
			s.Members[2] = added(2)
			s.Begun.Cluster = initialCluster(s.Members)
		}), "wait: dotmesh-etcd-cluster-2 is joining"},
		{"a backup was restored on a claim", with(claimed(), func(s *State) { s.Claims[0] = 7 }), "mark claim 0 of 100"},
		{"a backup is being restored on a claim", with(claimed(), func(s *State) { s.Claims[0], s.Members[0] = 7, down(voter(0)) }), "wait: 2 of 3"},
		{"not for long", with(three(), func(s *State) { emptied(s); s.Pods[2] = Pod{Empty: true} }), "wait: 2 of 3"},
		{"it is well, and what is known of the pod is old", with(three(), func(s *State) { emptied(s); s.Members[2] = voter(2) }), "wait"},
		{"another is down", with(three(), func(s *State) { emptied(s); s.Members[1] = down(voter(1)) }), "wait: 1 of 3"},
		{"a learner lost its data", with(running(nodes("a", "b", "c"), voter(0), voter(1), down(learner(2))), func(s *State) { s.Pods[2] = Pod{Empty: true, Broken: true} }), "remove member 2 102"},
		{"a learner without data was never started", with(running(nodes("a", "b", "c"), voter(0), voter(1), added(2)), func(s *State) { s.Pods[2] = Pod{Node: "c", Empty: true, Broken: true} }), "wait: dotmesh-etcd-cluster-2 is joining"},
	})
}

// TestClaimOfAVolumeIsDeleted: the volume, which is kept, gets the next claim.
func TestClaimOfAVolumeIsDeleted(t *testing.T) {
	let := func(ordinal int) func(*State) {
		return func(s *State) {
			v := s.Volumes[ordinal]
			v.Unclaimed = true
			s.Volumes[ordinal] = v
		}
	}
	decide(t, []decision{
		{"of one of three", with(three(), let(1)), "rebind volume 1"},
		{"of the only one", with(with(running(nodes("a"), voter(0)), silent), let(0)), "rebind volume 0"},
		{"of the first, which has not answered", with(with(running(nodes("a"), voter(0)), silent), func(s *State) {
			s.Volumes[0], s.Begun.Existing = Volume{Node: "a", Unclaimed: true}, false
		}), "rebind volume 0"},
		{"whose node is gone", with(with(running(nodes("a"), voter(0)), silent), func(s *State) { let(0)(s); s.Nodes = nil }), "wait, act: etcd has lost its quorum"},
		{"of one that was removed", with(three(), func(s *State) {
			let(2)(s)
			s.Members = s.Members[:2]
			s.Begun.Cluster = initialCluster(s.Members)
		}), "delete volume 2"},
		{"of two, and etcd may begin again from the first", with(with(with(three(), silent), let(1)), let(2)), "wait: etcd does not answer"},
		{"of all", with(with(with(with(three(), silent), let(0)), let(1)), let(2)), "rebind volume 2"},
		{"of all, and two have theirs again", with(with(three(), silent), let(0)), "rebind volume 0"},
	})
}

// TestEnding: what a removed member leaves goes when its pod has ended, which its node must do
// where that may come back; and while it does not, somebody is told.
func TestEnding(t *testing.T) {
	removed := func(s State) State {
		s.Members = s.Members[:2]
		s.Begun = &Bootstrap{initialCluster(s.Members), true}
		s.Nodes = append(s.Nodes, nodes("d")...)
		s.Nodes[2].Counts, s.Nodes[2].Suits, s.Nodes[2].Takes = false, false, false
		s.Pods[2] = Pod{Node: "c", Deleting: true, Broken: true}
		return s
	}
	unending := func(s *State) { s.Pods[2] = Pod{Node: "c", Deleting: true, Broken: true, Unending: true} }
	const told = "wait, act: dotmesh-etcd-cluster-2 was removed from etcd, and its pod does not end on node c, so that no other takes its place: see to that node, or, if its machine is off for good, say so with `kubectl taint node c node.kubernetes.io/out-of-service="
	decide(t, []decision{
		{"its pod ends", removed(three()), "delete volume 2"},
		{"its pod does not end", with(removed(three()), unending), told},
		{"its node is out of service", with(removed(three()), func(s *State) { unending(s); s.Nodes[2].Lost = true }), "delete volume 2"},
		{"its node is another by now", with(removed(three()), func(s *State) {
			unending(s)
			s.Nodes[2].UID, s.Volumes[2] = "new", Volume{Node: "c", Member: 102, NodeUID: "old"}
		}), "delete volume 2"},
		{"its node is deleted", with(removed(three()), func(s *State) { unending(s); s.Nodes = nodes("a", "b", "d") }), "delete volume 2"},
		{"its pod ends, on the class's volume", removed(claimed()), "delete claim 2"},
		{"its pod does not end, on the class's volume", with(removed(claimed()), unending), told},
		{"its node is out of service, on the class's volume", with(removed(claimed()), func(s *State) { unending(s); s.Nodes[2].Lost = true }), "delete claim 2"},
	})
}

// TestToldOf: what is not well for long is told, with what is in its way.
func TestToldOf(t *testing.T) {
	trouble := func(s *State) { s.Pods[2] = Pod{Node: "c", Trouble: "its node c is not ready"} }
	ill := func(s *State) { trouble(s); s.Ill = true }
	const why, look = " (dotmesh-etcd-cluster-2: its node c is not ready)", ". Look at `kubectl -n dotmesh describe pod,pvc -l app.kubernetes.io/component=etcd`"
	one := running(nodes("a", "b", "c"), voter(0), voter(1), down(voter(2)))
	decide(t, []decision{
		{"one of three, for long", with(one, ill), "wait, act: 2 of 3 members of etcd are well" + why + look},
		{"one of three", with(one, trouble), "wait: 2 of 3 members of etcd are well" + why},
		{"one of two", with(running(nodes("a", "b", "c"), voter(0), down(voter(1))), func(s *State) { s.Ill = true }), "wait, act: etcd gets another member when all that it has are well" + look},
		{"no answer for long", with(with(three(), silent), ill), "wait, act: etcd does not answer" + why + look},
		{"and other images wait", with(with(with(three(), silent), ill), func(s *State) { s.Held = true }),
			"wait, act: etcd does not answer" + why + ". Its pods keep their images until servers have come up with the next: docs/etcd.md says how to give them those at once" + look},
		{"no answer", with(with(three(), silent), trouble), "wait: etcd does not answer" + why},
		{"it was never begun", State{Namespace: namespace, Begun: &Bootstrap{Cluster: "x"}, Kept: Ordinals{Count: 1}, Ill: true, Pods: map[int]Pod{0: {Trouble: "no node takes it"}}},
			"wait, act: etcd does not answer (dotmesh-etcd-cluster-0: no node takes it)" + look},
		{"it joins and does not come up", with(running(nodes("a", "b", "c"), voter(0), voter(1), added(2)), func(s *State) { trouble(s); s.Pods[2] = Pod{Trouble: s.Pods[2].Trouble, Stuck: true} }), "wait, act: dotmesh-etcd-cluster-2 joins etcd and does not come up" + why + ", and until it does"},
		{"all are well by now", with(three(), func(s *State) { s.Ill = true }), "wait"},
	})
}

// TestBegunOnce: while anything tells of a member no other cluster is begun, whatever became
// of the ConfigMap; and none is once all that does was deleted.
func TestBegunOnce(t *testing.T) {
	deleted := func(s State) State {
		silent(&s)
		s.Begun = nil
		return s
	}
	existing := three().Begun.Cluster + " existing"
	decide(t, []decision{
		{"the ConfigMap is deleted", deleted(three()), "write bootstrap " + existing},
		{"it is deleted, and the first was moved", with(deleted(running(nodes("a", "b"), voter(0), voter(1))), func(s *State) { delete(s.Volumes, 0) }),
			"write bootstrap dotmesh-etcd-cluster-1=https://dotmesh-etcd-cluster-1.dotmesh-etcd-cluster.dotmesh.svc:2380 existing"},
		{"it is deleted, the class's volumes", deleted(claimed()), "write bootstrap " + existing},
		{"it is deleted, and all nodes are gone", with(deleted(three()), func(s *State) { s.Nodes = nodes("d") }), "write bootstrap " + existing},
		{"it says that nothing is begun", with(with(three(), silent), func(s *State) { s.Begun.Existing = false }), "write bootstrap " + existing},
		{"written again", with(with(three(), silent), func(s *State) { s.Begun = &Bootstrap{initialCluster(s.known()), true} }), "wait: etcd does not answer"},
		{"all was deleted", with(deleted(three()), func(s *State) { s.Volumes, s.Pods, s.Kept.Count = nil, nil, 0 }), "write bootstrap dotmesh-etcd-cluster-0=https://dotmesh-etcd-cluster-0.dotmesh-etcd-cluster.dotmesh.svc:2380 new"},
		{"all was deleted, the class's volumes", with(deleted(claimed()), func(s *State) { s.Claims, s.Pods, s.Kept.Count = nil, nil, 0 }), "write bootstrap dotmesh-etcd-cluster-0=https://dotmesh-etcd-cluster-0.dotmesh-etcd-cluster.dotmesh.svc:2380 new"},
	})
}

func text(s Step) string {
	switch s.Do {
	case Wait:
		return strings.TrimSuffix(map[bool]string{true: "wait, act: ", false: "wait: "}[s.Act]+s.Why, ": ")
	case WriteBootstrap:
		return fmt.Sprintf("%s %s %s", s.Do, s.Bootstrap.Cluster, map[bool]string{true: "existing", false: "new"}[s.Bootstrap.Existing])
	case CreateVolume:
		return fmt.Sprintf("%s %d on %s for %d", s.Do, s.Ordinal, s.Node, s.Member)
	case MarkVolume, MarkClaim:
		return fmt.Sprintf("%s %d of %d", s.Do, s.Ordinal, s.Member)
	case Promote, Remove:
		return fmt.Sprintf("%s %d %d", s.Do, s.Ordinal, s.Member)
	}
	if s.Do == Scale && s.Keep.First > 0 {
		return fmt.Sprintf("%s %d to %d", s.Do, s.Keep.First, s.Keep.last())
	}
	if s.Do == Scale {
		return fmt.Sprintf("%s %d", s.Do, s.Keep.last())
	}
	return fmt.Sprintf("%s %d", s.Do, s.Ordinal)
}

// TestForeignMember: where an etcd answers that has somebody else's member, as a static
// deployment's has, nothing is done to it.
func TestForeignMember(t *testing.T) {
	static := members.Member{ID: 7, Name: "dotmesh-etcd-0", PeerURL: "https://dotmesh-etcd-0.dotmesh-etcd-cluster.dotmesh.svc:2380", Healthy: true}
	s := State{Namespace: namespace, Local: true, Answers: true, Nodes: nodes("a", "b", "c"), Members: []members.Member{static}}
	if step := Next(s); step.Do != Wait || !step.Act || !strings.Contains(step.Why, static.Name) {
		t.Errorf("got %+v", step)
	}
}
