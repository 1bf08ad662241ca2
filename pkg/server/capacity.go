package server

import (
	"context"

	"connectrpc.com/connect"
	"k8s.io/klog/v2"

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
	served, err := p.served(ctx, req.Node)
	if err != nil {
		return nil, err
	}
	res := &dotmeshv1.GetCapacityResponse{}
	if len(served) == 0 { // a node without a pool has no room, nor has one whose pool nobody serves
		return res, nil
	}
	rooms, err := p.rooms(ctx, served)
	if err != nil {
		return nil, err
	}
	if len(rooms) == 0 {
		return nil, dot.Unavailable("how much room there is on node %s is not known: the server of pool %s does not answer; try again", nodeName(served[0]), served[0].ID)
	}
	for _, r := range rooms {
		res.AvailableBytes += r.free
		res.MaximumVolumeBytes = max(res.MaximumVolumeBytes, r.total)
	}
	return res, nil
}

// served are the pools of a node that are served, "" for all nodes. Of a call that was
// forwarded here it is this one.
func (p *plane) served(ctx context.Context, node string) ([]dot.Pool, error) {
	if isForwarded(ctx) {
		return []dot.Pool{{ID: p.pool, Node: p.node}}, nil
	}
	all, err := p.standings(ctx)
	var served []dot.Pool
	for _, s := range all {
		if s.alive && (node == "" || s.Node == node) {
			served = append(served, s.Pool)
		}
	}
	return served, err
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
		if err != nil { // as of others: a sick pool keeps no dot from a healthy one
			klog.FromContext(ctx).Error(err, "this pool's room is not known")
			continue
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
