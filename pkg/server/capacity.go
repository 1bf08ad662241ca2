package server

import (
	"context"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
)

// getCapacity tells how much room a node's pool has; nodes without one have none.
func (p *plane) getCapacity(ctx context.Context, req *dotmeshv1.GetCapacityRequest) (*dotmeshv1.GetCapacityResponse, error) {
	if req.Node == "" || req.Node == p.node {
		total, free, err := p.engine.Capacity(ctx)
		if err != nil {
			return nil, err
		}
		return &dotmeshv1.GetCapacityResponse{AvailableBytes: free, MaximumVolumeBytes: total}, nil
	}
	pools, err := p.store.ListPools(ctx)
	if err != nil {
		return nil, err
	}
	res := &dotmeshv1.GetCapacityResponse{}
	for _, pool := range pools {
		if pool.Value.Node == req.Node {
			res.AvailableBytes += pool.Value.FreeBytes
			res.MaximumVolumeBytes = max(res.MaximumVolumeBytes, pool.Value.SizeBytes)
		}
	}
	return res, nil
}
