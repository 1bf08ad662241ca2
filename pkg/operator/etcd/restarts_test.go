package etcd

import (
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

func TestRolling(t *testing.T) {
	old := Pod{Ready: true, Outdated: true}
	decide(t, []decision{
		{"all outdated", with(three(), func(s *State) {
			s.Pods = map[int]Pod{0: old, 1: old, 2: old}
		}), "restart pod 0"},
		{"one restarts", with(three(), func(s *State) { s.Pods = map[int]Pod{0: {}, 1: old, 2: old} }), "wait"},
		{"one is ending", with(three(), func(s *State) { s.Pods[0] = Pod{Ready: true, Deleting: true, Outdated: true}; s.Pods[1] = old }), "wait"},
		{"etcd tells why it is not well", with(running(nodes("a"), down(voter(0))), func(s *State) { s.Members[0].Trouble = "alarm:NOSPACE" }), "wait: 0 of 1 members of etcd are well (dotmesh-etcd-cluster-0: alarm:NOSPACE)"},
		{"one member is not well", with(running(nodes("a", "b", "c"), voter(0), voter(1), down(voter(2))), func(s *State) { s.Pods[1] = old }), "wait: 2 of 3"},
		{"the broken one first", with(running(nodes("a", "b", "c"), voter(0), voter(1), down(voter(2))), func(s *State) { s.Pods[1], s.Pods[2] = old, Pod{Outdated: true, Broken: true} }), "restart pod 2"},
		{"the broken one while another restarts", with(running(nodes("a", "b", "c"), voter(0), down(voter(1)), down(voter(2))), func(s *State) {
			s.Pods = map[int]Pod{0: old, 1: {Deleting: true}, 2: {Outdated: true, Broken: true}}
		}), "wait: 1 of 3"},
		{"the broken one while another ends for ever", with(running(nodes("a", "b", "c"), voter(0), down(voter(1)), down(voter(2))), func(s *State) {
			s.Pods = map[int]Pod{0: old, 1: {Deleting: true, Broken: true}, 2: {Outdated: true, Broken: true}}
		}), "restart pod 2"},
		{"one that is slow while another restarts", with(running(nodes("a", "b", "c"), voter(0), voter(1), down(voter(2))), func(s *State) {
			s.Pods = map[int]Pod{0: {Ready: true}, 1: old, 2: {Outdated: true}}
		}), "wait: 2 of 3"},
		{"what is new does not run, and another has no quorum", with(with(three(), silent), func(s *State) {
			s.Pods = map[int]Pod{0: {Broken: true, InVain: true}, 1: {Outdated: true, Broken: true, Away: true}, 2: {Outdated: true, Broken: true}}
		}), "wait: etcd does not answer"},
		{"what is new does not run", with(running(nodes("a", "b", "c"), down(voter(0)), voter(1), down(voter(2))), func(s *State) {
			s.Pods = map[int]Pod{0: {Broken: true, InVain: true}, 1: old, 2: {Outdated: true, Broken: true}}
		}), "wait: 1 of 3"},
		{"it is mended", with(with(three(), silent), func(s *State) {
			s.Pods = map[int]Pod{0: {Outdated: true, Broken: true, InVain: true}, 1: {Outdated: true, Broken: true, Away: true}, 2: {Outdated: true, Broken: true}}
		}), "restart pod 0"},
		{"and runs, where the others still do not", with(with(three(), silent), func(s *State) {
			s.Pods = map[int]Pod{0: {Broken: true}, 1: {Outdated: true, Broken: true, Away: true}, 2: {Outdated: true, Broken: true, InVain: true}}
		}), "restart pod 2"},
		{"the power was away, and etcd does not answer yet", with(with(three(), silent), func(s *State) {
			s.Pods = map[int]Pod{0: {Outdated: true, Broken: true, Away: true}, 1: {Outdated: true, Broken: true, Away: true}, 2: {Outdated: true}}
		}), "wait: etcd does not answer"},
		{"one is to leave, and has nowhere to go", with(three(), func(s *State) { s.Nodes[2].Counts, s.Nodes[2].Takes = false, false; s.Pods[0] = old }), "restart pod 0"},
		{"it tells so when they are as they should be", with(three(), func(s *State) { s.Nodes[2].Counts, s.Nodes[2].Takes = false, false }), "wait, act: dotmesh-etcd-cluster-2 is to leave node c"},
		{"one that cannot leave keeps none from it that can", with(running(append(nodes("a", "b", "c"), Node{Name: "d", Zone: "z", Counts: true, Suits: true, Takes: true}), voter(0), voter(1), voter(2)), func(s *State) { s.Nodes[1].Counts, s.Nodes[1].Takes = false, false }), "remove member 1 101"},
		{"the only member", with(running(nodes("a"), voter(0)), func(s *State) { s.Pods[0] = old }), "restart pod 0"},
	})
}

// TestPodsThatWouldNotComeBack are not made anew, whatever they should be.
func TestPodsThatWouldNotComeBack(t *testing.T) {
	onDisk := func(on []Node, all ...members.Member) State {
		s := running(on, all...)
		s.Local, s.Volumes, s.Claims = false, nil, map[int]members.ID{}
		for i, m := range all {
			s.Claims[i] = m.ID
		}
		return s
	}
	only := func(on []Node, pod Pod) State {
		pod.Node = on[0].Name
		return with(onDisk(on, voter(0)), func(s *State) { s.Pods[0] = pod })
	}
	cordoned := func(names ...string) []Node {
		all := nodes(names...)
		cordon(&all[0])
		return all
	}
	old, going := Pod{Ready: true, Outdated: true}, Pod{Ready: true, Outdated: true, ClaimGoes: true}
	const lost, stays = "wait, act: somebody deleted the PersistentVolumeClaim data-dotmesh-etcd-cluster-0", "wait, act: dotmesh-etcd-cluster-0 is to be made anew and goes on as it is"
	decide(t, []decision{
		{"the only one's claim goes", only(nodes("a"), going), lost},
		{"also when it is as it should be", only(nodes("a"), Pod{Ready: true, ClaimGoes: true}), lost},
		{"others can have it too", only(nodes("a", "b", "c"), going), "add member 1"},
		{"it is broken, and that is all", with(only(nodes("a"), Pod{Outdated: true, Broken: true, ClaimGoes: true}), silent), lost},
		{"one of three has lost its claim", with(onDisk(nodes("a", "b", "c"), voter(0), voter(1), voter(2)), func(s *State) { s.Pods[0] = onNode(going, "a") }), "restart pod 0"},
		{"one of three that do not answer", with(onDisk(nodes("a", "b", "c"), voter(0), voter(1), voter(2)), func(s *State) {
			silent(s)
			s.Pods[0] = Pod{Node: "a", Outdated: true, Broken: true, ClaimGoes: true}
		}), "wait: etcd does not answer"},
		{"another of them may be mended", with(onDisk(nodes("a", "b", "c"), voter(0), voter(1), voter(2)), func(s *State) {
			silent(s)
			s.Pods[0], s.Pods[1] = Pod{Node: "a", Outdated: true, Broken: true, ClaimGoes: true}, Pod{Node: "b", Outdated: true, Broken: true}
		}), "restart pod 1"},
		{"two of them", with(onDisk(nodes("a", "b", "c"), voter(0), voter(1), voter(2)), func(s *State) {
			silent(s)
			s.Pods[0], s.Pods[1] = onNode(going, "a"), onNode(going, "b")
		}), "wait, act: somebody deleted the PersistentVolumeClaim data-dotmesh-etcd-cluster-0, data-dotmesh-etcd-cluster-1"},

		{"the only one's node is cordoned", only(cordoned("a"), old), stays},
		{"another takes it", only(cordoned("a", "b"), old), "restart pod 0"},
		{"which cannot have its volume", only(cordoned("a", "b"), Pod{Ready: true, Outdated: true, ReachableFrom: []string{"a"}}), stays},
		{"on a volume of ours it comes back to a cordoned node", with(running(cordoned("a"), voter(0)), func(s *State) { s.Pods[0] = onNode(old, "a") }), "restart pod 0"},
		{"it is well", only(cordoned("a"), Pod{Ready: true}), "wait"},
		{"what is missing is added before that is told", with(onDisk(append(cordoned("a"), nodes("b", "c")...), voter(0), voter(1)), func(s *State) {
			s.Pods[0] = onNode(Pod{Ready: true, Outdated: true, ReachableFrom: []string{"a"}}, "a")
		}), "add member 2"},
		{"one that would not come back does not hold up another", with(onDisk(cordoned("a", "b", "c"), voter(0), voter(1), voter(2)), func(s *State) { s.Pods[0], s.Pods[1] = onNode(old, "a"), onNode(old, "b") }), "restart pod 1"},
	})
}

// onNode is a pod on a node.
func onNode(p Pod, node string) Pod {
	p.Node = node
	return p
}
