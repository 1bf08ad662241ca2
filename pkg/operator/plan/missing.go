package plan

import "time"

// MissingSince gives the nodes that do not exist though a PVC or a pod of ours is for them,
// and since when. before is what the observation before this one gave. Only the operator's
// own clock counts, so that one that has just started counts anew. A node that came and went
// between two observations was not seen, and counts as missing all the time.
func (s State) MissingSince(before map[string]time.Time) map[string]time.Time {
	since := map[string]time.Time{}
	miss := func(node string) {
		since[node] = s.Now
		if first, seen := before[node]; seen {
			since[node] = first
		}
	}
	for _, p := range s.PVCs {
		miss(p.Assignment.Node)
	}
	for _, server := range s.Servers {
		miss(server.Node)
	}
	for _, h := range s.Holders {
		miss(h.Node)
	}
	delete(since, "") // a free PVC's
	for _, n := range s.Nodes {
		delete(since, n.Name)
	}
	return since
}
