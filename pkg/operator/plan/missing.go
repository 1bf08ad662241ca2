package plan

import "time"

// MissingSince is since when each node that something of ours is for has not been there, as
// one observer saw it, whose last answer was before. It is none of the cluster's clocks: one
// that has just started begins anew. A node that came and went between two looks was not
// there.
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
