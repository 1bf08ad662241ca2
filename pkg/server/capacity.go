package server

import (
	"context"

	"connectrpc.com/connect"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// room is what a pool has in bytes, free and altogether.
type room struct{ free, total int64 }

// getCapacity tells how much room the pools of a node, or all of them, have now.
// The servers are asked, because what the registry says of room is as old as their
// start. A pool whose server does not answer takes no dot, and is left out.
func (p *plane) getCapacity(ctx context.Context, req *dotmeshv1.GetCapacityRequest) (*dotmeshv1.GetCapacityResponse, error) {
	there, served, err := p.poolsOf(ctx, req.Node)
	if err != nil {
		return nil, err
	}
	res := &dotmeshv1.GetCapacityResponse{}
	if len(there) == 0 { // a node without a pool has no room
		return res, nil
	}
	rooms, err := p.rooms(ctx, served)
	if err != nil {
		return nil, err
	}
	if len(rooms) == 0 {
		return nil, dot.Unavailable("how much room there is on node %s is not known: the server of pool %s does not answer; try again", nodeName(there[0]), there[0].ID)
	}
	for _, r := range rooms {
		res.AvailableBytes += r.free
		res.MaximumVolumeBytes = max(res.MaximumVolumeBytes, r.total)
	}
	return res, nil
}

// poolsOf are the pools of a node, "" for all nodes, and those that are served. Of a
// call that was forwarded here it is this one.
func (p *plane) poolsOf(ctx context.Context, node string) (there, served []dot.Pool, err error) {
	if isForwarded(ctx) {
		there = []dot.Pool{{ID: p.pool, Node: p.node}}
		return there, there, nil
	}
	all, err := p.standings(ctx)
	for _, s := range all {
		if node != "" && s.Node != node {
			continue
		}
		there = append(there, s.Pool)
		if s.alive {
			served = append(served, s.Pool)
		}
	}
	return there, served, err
}

// rooms measures this pool and asks the servers of others, of which those that do
// not answer are left out.
func (p *plane) rooms(ctx context.Context, pools []dot.Pool) (map[dot.PoolID]room, error) {
	rooms := map[dot.PoolID]room{}
	var others []dot.Pool
	for _, pool := range pools {
		if pool.ID != p.pool {
			others = append(others, pool)
			continue
		}
		total, free, err := p.engine.Capacity(ctx)
		if err != nil {
			return nil, err
		}
		rooms[pool.ID] = room{free, total}
	}
	// For the server itself: who places a dot need not be one who may ask for room.
	ctx = withPrincipal(ctx, principal{adminName, roleController})
	answers := askAll(ctx, p, others, func(ctx context.Context, c *client.Client) (*connect.Response[dotmeshv1.GetCapacityResponse], error) {
		return c.Volumes.GetCapacity(ctx, connect.NewRequest(&dotmeshv1.GetCapacityRequest{}))
	})
	for id, answer := range answers {
		rooms[id] = room{answer.Msg.AvailableBytes, answer.Msg.MaximumVolumeBytes}
	}
	return rooms, nil
}
