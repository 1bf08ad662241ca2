package config

import "fmt"

// Effect is what it takes until a changed key holds everywhere.
type Effect int

// The effects, from the least to the most.
const (
	AtOnce  Effect = iota // no pod is restarted
	NewPVCs               // what exists stays as it is
	Grow                  // the PVC first where there is one, then the pool, under its users
	Rolling               // one node at a time
	Anew                  // no pool has it yet: pods and PVCs that wait for one are made anew
)

// String says it to a person who changed a key.
func (e Effect) String() string {
	switch e {
	case AtOnce:
		return "takes effect at once"
	case NewPVCs:
		return "takes effect on new PVCs only"
	case Grow:
		return "pools grow online"
	case Rolling:
		return "rolls out, one node at a time"
	case Anew:
		return "takes effect on the pools that are made now"
	}
	return fmt.Sprintf("Effect(%d)", int(e))
}

// Change is one key with another value.
type Change struct {
	Key, From, To string
	Effect        Effect
}

// String tells a person of it.
func (c Change) String() string {
	return fmt.Sprintf("%s: %q is now %q: %s", c.Key, c.From, c.To, c.Effect)
}

// Plan is what differs between two configurations, in the order of the keys;
// empty when nothing does.
type Plan []Change

// Pools are those that there are, as far as a change has to do with them.
type Pools struct {
	// Exist is while a server may have one: there is a PVC for a pool, or a node with the
	// label of those that have pools. A pool file that its node gave up counts no more.
	Exist bool
	// Local and PVC are the bytes of the largest pool in a file, and of the largest PVC,
	// of those whose size is known. A size may be set back to these: it was a mistake
	// that nothing has followed.
	Local, PVC int64
}

// Change tells what it means to put next in c's place, or refuses all of next
// with a *Refusal, so that c holds on unchanged.
func (c Config) Change(next Config, pools Pools) (Plan, error) {
	var plan Plan
	var problems []Remark
	for _, s := range settings() {
		change := Change{Key: s.key, From: s.text(&c), To: s.text(&next), Effect: s.effect}
		if change.From == change.To {
			continue
		}
		shrinks := s.size != nil && s.size(&next).Bytes() < s.size(&c).Bytes()
		if err := s.isTaken(&next); err != nil {
			problems = append(problems, Remark{s.key, err.Error() + s.hintDefault()})
			continue
		}
		switch {
		case pools.Exist && s.fixed:
			problems = append(problems, cannotMove(change))
		case pools.Exist && shrinks && s.size(&next).Bytes() < s.reached(pools):
			problems = append(problems, cannotShrink(change, s.reached(pools)))
		case shrinks:
			change.Effect = Anew
		}
		plan = append(plan, change)
	}
	if len(problems) > 0 {
		return nil, &Refusal{problems}
	}
	return plan, nil
}

func cannotMove(c Change) Remark {
	return Remark{c.Key, fmt.Sprintf("cannot change from %q to %q while pools exist, because their dots would be left behind: set it back to %q; to migrate, make a new cluster with %q and pull the dots across",
		c.From, c.To, c.From, c.To)}
}

func cannotShrink(c Change, reached int64) Remark {
	return Remark{c.Key, fmt.Sprintf("cannot shrink from %q to %q while pools exist, because a pool only grows, and the largest has %d bytes: set it to that or more; for smaller pools, make a new cluster with %q and pull the dots across",
		c.From, c.To, reached, c.To)}
}
