package etcd

import (
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

// TestReplicas: whoever scales the StatefulSet, or deletes it, all members keep a pod.
func TestReplicas(t *testing.T) {
	scaled := func(n int) func(*State) { return func(s *State) { s.Kept.Count = n } }
	// second is alone, with so many pods from the first on.
	second := func(count, first int) State {
		return with(running(nodes("a", "b"), voter(0), voter(1)), func(s *State) {
			s.Members = s.Members[1:]
			s.Begun.Cluster = initialCluster(s.Members)
			delete(s.Volumes, 0)
			s.Kept = Ordinals{first, count}
		})
	}
	decide(t, []decision{
		{"scaled to two of three", with(three(), scaled(2)), "scale 2"},
		{"scaled to one of three, no answer", with(with(three(), silent), scaled(1)), "scale 2"},
		{"scaled to none, no answer", with(with(three(), silent), scaled(0)), "scale 2"},
		{"no answer, the class's volumes", with(with(claimed(), silent), scaled(1)), "scale 2"},
		{"the first was removed, no answer", with(running(nodes("a", "b"), voter(0), voter(1)), func(s *State) {
			silent(s)
			s.Begun.Cluster = initialCluster([]members.Member{voter(1)})
			s.Kept.Count, s.Volumes = 1, nil
		}), "scale 1"},
		{"scaled to more", with(three(), scaled(5)), "scale 2"},
		{"scaled to more, on the class's volumes", with(claimed(), func(s *State) { s.Kept.Count, s.Claims[3], s.Claims[4] = 5, 0, 0 }), "scale 2"},
		{"scaled to more, no answer", with(with(three(), silent), scaled(5)), "wait: etcd does not answer"},
		{"one is not well", with(running(nodes("a", "b", "c"), voter(0), voter(1), down(voter(2))), scaled(5)), "wait: 2 of 3"},
		{"claims are left of more", with(claimed(), func(s *State) { s.Claims[3] = 0 }), "wait"},
		{"two became one", with(running(nodes("a", "b"), voter(0)), scaled(2)), "scale 0"},
		{"two became one, and the volume of the second is there", with(running(nodes("a", "b"), voter(0)), func(s *State) { s.Kept.Count, s.Volumes[1] = 2, Volume{Node: "b", Member: 101} }), "delete volume 1"},
		{"the first became the second", second(2, 0), "scale 1 to 2"},
		{"the first became the second, which is the first pod now", second(2, 1), "scale 1 to 1"},
		{"a member with a number that nobody gave", with(claimed(), func(s *State) { s.Members[2].PeerURL = peerURL(namespace, mostOrdinals) }), "wait, act: etcd has a member"},
		{"the only member is the second", second(1, 1), "wait"},
		{"somebody scaled to a pod that is no member's", second(1, 0), "scale 1"},
		{"somebody moved the first pod far on", with(three(), func(s *State) { s.Kept.First = 5000 }), "scale 15"},
		{"somebody moved the first pod on", with(three(), func(s *State) { s.Kept.First = 2 }), "scale 4"},
		{"the second gets two beside it again", with(second(1, 1), func(s *State) {
			s.Nodes = nodes("a", "b", "c")
			s.Members = []members.Member{added(0), s.Members[0]}
			s.Begun.Cluster = initialCluster(s.Members)
		}), "scale 1"},
		{"the third's place is waited for", with(running(nodes("a", "b", "c"), voter(0), voter(1)), func(s *State) { notReady(&s.Nodes[2]); s.Kept.Count = 3 }), "scale 1"},
	})
	for what, tt := range map[string]struct {
		s    State
		want Ordinals
	}{
		"nothing is there":          {State{}, Ordinals{}},
		"begun":                     {State{Begun: &Bootstrap{Cluster: "x"}}, Ordinals{0, 1}},
		"only the ConfigMap knows":  {State{Begun: three().Begun}, Ordinals{0, 3}},
		"only the volumes are left": {State{Volumes: map[int]Volume{1: {}}}, Ordinals{1, 1}},
		"only the claims are left":  {State{Claims: claimed().Claims}, Ordinals{0, 3}},
	} {
		if got := tt.s.needed(); got != tt.want {
			t.Errorf("%s: made with %v, want %v", what, got, tt.want)
		}
	}
}
