package etcd

import "slices"

// Ordinals are First, the one after it, and so on, Count of them. A StatefulSet has a pod
// for each of its own: see StatefulSetSpec.ordinals.
type Ordinals struct{ First, Count int }

// last is lower than First when there are none.
func (o Ordinals) last() int { return o.First + o.Count - 1 }

func between(first, last int) Ordinals { return Ordinals{first, last - first + 1} }

// with is the shortest row with those of both.
func (o Ordinals) with(other Ordinals) Ordinals {
	switch {
	case o.Count == 0:
		return other
	case other.Count == 0:
		return o
	}
	return between(min(o.First, other.First), max(o.last(), other.last()))
}

// replicas has the StatefulSet keep a pod for each member: of those that it lacks it would
// make none, whoever scaled it, deleted it, or moved its first ordinal on, however far.
func (s State) replicas() (Step, bool) {
	needed := s.needed()
	all := s.Kept.with(needed)
	if needed.Count == 0 || all == s.Kept {
		return Step{}, false
	}
	return Step{Do: Scale, Keep: between(all.First, min(all.last(), mostOrdinals-1))}, true
}

// spare takes away the pods before the first member's and after the last one's: they wait
// for ever, and the budget counts them as members that are away, so that no node of
// another could be drained. Those before go first, and by a step that keeps the count:
// where the API server knows no ordinals.start no member loses its pod by it.
func (s State) spare() (Step, bool) {
	needed := s.needed()
	switch {
	case s.Kept.First < needed.First:
		return Step{Do: Scale, Keep: Ordinals{needed.First, s.Kept.Count}}, true
	case s.Kept.last() > needed.last():
		return Step{Do: Scale, Keep: needed}, true
	}
	return Step{}, false
}

// needed are the ordinals of all that is, or may be, a member's.
func (s State) needed() Ordinals {
	all := s.begun()
	for _, m := range s.Members {
		if ordinal, ours := ordinalOf(m); ours {
			all = append(all, ordinal)
		}
	}
	for ordinal := range s.Volumes {
		all = append(all, ordinal)
	}
	for ordinal, of := range s.Claims {
		if of != 0 { // others may be left of a StatefulSet that somebody scaled
			all = append(all, ordinal)
		}
	}
	if len(all) == 0 {
		return Ordinals{}
	}
	return between(slices.Min(all), slices.Max(all))
}
