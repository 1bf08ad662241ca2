package server

import (
	"context"
	"slices"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// place decides which pool a new dot is made on: nil for this one, elsewhere for
// another. Nothing remembers it before that pool's server has recorded the dot, so
// that one which went away meanwhile is not waited for. Who made the decision has
// forwarded the call, so that it is not made again by another measure of room.
func (p *plane) place(ctx context.Context, what string, preferred []string) error {
	all, err := p.standings(ctx)
	if err != nil {
		return err
	}
	pools, err := candidates(all, preferred)
	if err != nil {
		return err
	}
	chosen := pools[0].ID
	switch own := slices.ContainsFunc(pools, func(pool dot.Pool) bool { return pool.ID == p.pool }); {
	case own && (len(pools) == 1 || isForwarded(ctx)):
		return nil
	case len(pools) > 1 && !isForwarded(ctx):
		if chosen, err = p.roomiest(ctx, pools); err != nil {
			return err
		}
	}
	if chosen == p.pool {
		return nil
	}
	return p.elsewhere(ctx, what, chosen)
}

// candidates are the pools that a new dot may be placed on: those of the first of
// the preferred nodes that has one which is served, or all that are served when no
// node is preferred.
func candidates(all []standing, preferred []string) ([]dot.Pool, error) {
	var away *dot.Pool
	for _, node := range preferred {
		var here []dot.Pool
		for _, s := range all {
			switch {
			case s.Node != node:
			case s.alive:
				here = append(here, s.Pool)
			case away == nil:
				away = &s.Pool
			}
		}
		if len(here) > 0 {
			return here, nil
		}
	}
	if away != nil {
		return nil, dot.Unavailable("the server of pool %s on node %s is away, and a new dot that is wanted there would be out of its pod's reach on another; try again", away.ID, away.Node)
	}
	if len(preferred) > 0 {
		return nil, dot.Errorf(dot.CodeExhausted, "node %s, where a pod wants a new dot, has no pool of dotmesh: the pod has to run on a node that has one", preferred[0])
	}
	var served []dot.Pool
	for _, s := range all {
		if s.alive {
			served = append(served, s.Pool)
		}
	}
	if len(served) == 0 {
		return nil, dot.Unavailable("no pool's server holds its lease; try again")
	}
	return served, nil
}

// roomiest asks which of several pools has most room; of equal ones this one.
func (p *plane) roomiest(ctx context.Context, pools []dot.Pool) (dot.PoolID, error) {
	rooms, err := p.rooms(ctx, pools)
	if err != nil {
		return dot.PoolID{}, err
	}
	var best dot.PoolID
	most := int64(-1)
	for _, pool := range pools {
		if room, ok := rooms[pool.ID]; ok && (room.free > most || room.free == most && pool.ID == p.pool) {
			best, most = pool.ID, room.free
		}
	}
	if best.IsZero() {
		return best, dot.Unavailable("no server of node %s tells how much room it has; try again", nodeName(pools[0]))
	}
	return best, nil
}

// reachable refuses a claim on what lies here for a pod that is to run on another
// node, which could never mount it. The scheduler then chooses again.
func (p *plane) reachable(name dot.FullName, preferred []string) error {
	if len(preferred) == 0 || slices.Contains(preferred, p.node) {
		return nil
	}
	return dot.Errorf(dot.CodeExhausted, "dot %s is on node %s, and so is what is made of it: pods that use it must run there, not on %s", name, p.node, preferred[0])
}
