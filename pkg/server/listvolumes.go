package server

import (
	"context"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func (p *plane) listVolumes(ctx context.Context, req *dotmeshv1.ListVolumesRequest) (*dotmeshv1.ListVolumesResponse, error) {
	limit, err := pageSize(req.MaxEntries)
	if err != nil {
		return nil, err
	}
	after, err := parseVolumeToken(req.StartingToken)
	if err != nil {
		return nil, err
	}
	dots, branches, err := p.catalogue(ctx)
	if err != nil {
		return nil, err
	}
	node, err := p.nodesOf(ctx)
	if err != nil {
		return nil, err
	}
	// Asked for all: pages are joined. Volumes that are not ready are left out,
	// so that more pages may be needed to fill one.
	res := &dotmeshv1.ListVolumesResponse{}
	for more := true; more && (req.MaxEntries == 0 || len(res.Volumes) < limit); {
		want := limit
		if req.MaxEntries != 0 {
			want -= len(res.Volumes)
		}
		page, next, err := p.store.ListVolumes(ctx, after, want)
		if err != nil {
			return nil, err
		}
		for _, rec := range page {
			after = rec.Value.ID
			d, hasDot := dots[rec.Value.Dot]
			b, hasBranch := branches[rec.Value.Branch]
			if rec.Value.State == dot.Ready && hasDot && hasBranch {
				res.Volumes = append(res.Volumes, claim{volume: rec.Value, dot: d, branch: b}.toProto(node(b.Master)))
			}
		}
		if more = next; more {
			res.NextToken = volumeToken(after)
		} else {
			res.NextToken = ""
		}
	}
	return res, nil
}

// catalogue reads all dots and branches at once, for lists.
func (p *plane) catalogue(ctx context.Context) (map[dot.ID]dot.Dot, map[dot.BranchID]dot.Branch, error) {
	dots, err := p.store.ListDots(ctx)
	if err != nil {
		return nil, nil, err
	}
	branches, err := p.store.ListAllBranches(ctx)
	if err != nil {
		return nil, nil, err
	}
	byID, branchByID := make(map[dot.ID]dot.Dot, len(dots)), make(map[dot.BranchID]dot.Branch, len(branches))
	for _, d := range dots {
		byID[d.Value.ID] = d.Value
	}
	for _, b := range branches {
		branchByID[b.Value.ID] = b.Value
	}
	return byID, branchByID, nil
}
