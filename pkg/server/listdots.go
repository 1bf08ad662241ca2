package server

import (
	"context"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

func (p *plane) listDots(ctx context.Context, req *dotmeshv1.ListDotsRequest) (*dotmeshv1.ListDotsResponse, error) {
	dots, err := p.store.ListDots(ctx)
	if err != nil {
		return nil, err
	}
	branches, err := p.store.ListAllBranches(ctx)
	if err != nil {
		return nil, err
	}
	commits, err := p.store.ListAllCommits(ctx)
	if err != nil {
		return nil, err
	}
	usage := p.usage(ctx, nil)
	if isForwarded(ctx) { // by a server that asks for usage: it lists the dots itself
		branches = slices.DeleteFunc(branches, func(b store.Record[dot.Branch]) bool { return b.Value.Master != p.pool })
	} else {
		p.addUsage(ctx, usage, branches, func(ctx context.Context, c *client.Client) ([]*dotmeshv1.Dot, error) {
			res, err := c.Dots.ListDots(ctx, connect.NewRequest(req))
			if err != nil {
				return nil, err
			}
			return res.Msg.Dots, nil
		})
	}
	describe, err := p.describer(ctx, commits, usage)
	if err != nil {
		return nil, err
	}
	of := map[dot.ID][]store.Record[dot.Branch]{}
	for _, b := range branches {
		of[b.Value.Dot] = append(of[b.Value.Dot], b)
	}
	res := &dotmeshv1.ListDotsResponse{}
	for _, d := range dots {
		if d.Value.State == dot.Deleting || req.Released && !d.Value.Released || isForwarded(ctx) && len(of[d.Value.ID]) == 0 {
			continue
		}
		out := api.DotToProto(d.Value)
		out.Branches = describe(of[d.Value.ID])
		res.Dots = append(res.Dots, out)
	}
	slices.SortFunc(res.Dots, func(a, b *dotmeshv1.Dot) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return res, nil
}

func (p *plane) getDot(ctx context.Context, req *dotmeshv1.GetDotRequest) (*dotmeshv1.GetDotResponse, error) {
	d, err := p.findDot(ctx, req.Dot)
	if err != nil {
		return nil, err
	}
	branches, err := p.store.ListBranches(ctx, d.Value.ID)
	if err != nil {
		return nil, err
	}
	commits, err := p.store.ListCommits(ctx, d.Value.ID)
	if err != nil {
		return nil, err
	}
	volumes, err := p.volumesOf(ctx, d.Value.ID)
	if err != nil {
		return nil, err
	}
	ids, byID := []dot.BranchID{}, map[dot.BranchID]dot.Branch{}
	for _, b := range branches {
		if !b.Value.Hidden { // a hidden one may go at any moment
			ids = append(ids, b.Value.ID)
		}
		byID[b.Value.ID] = b.Value
	}
	usage := p.usage(ctx, ids)
	if !isForwarded(ctx) {
		p.addUsage(ctx, usage, branches, func(ctx context.Context, c *client.Client) ([]*dotmeshv1.Dot, error) {
			res, err := c.Dots.GetDot(ctx, connect.NewRequest(req))
			if err != nil {
				return nil, err
			}
			return []*dotmeshv1.Dot{res.Msg.Dot}, nil
		})
	}
	describe, err := p.describer(ctx, commits, usage)
	if err != nil {
		return nil, err
	}
	out := api.DotToProto(d.Value)
	out.Branches = describe(branches)
	for _, v := range volumes {
		out.Volumes = append(out.Volumes, p.volumeToProto(ctx, claim{volume: v, dot: d.Value, branch: byID[v.Branch]}))
	}
	return &dotmeshv1.GetDotResponse{Dot: out}, nil
}

// describer converts the visible branches of a dot with their commit counts and
// usage.
func (p *plane) describer(ctx context.Context, commits []store.Record[dot.Commit], usage map[dot.BranchID]engine.BranchUsage) (func([]store.Record[dot.Branch]) []*dotmeshv1.Branch, error) {
	node, err := p.nodesOf(ctx)
	if err != nil {
		return nil, err
	}
	counts, latest := map[dot.BranchID]uint64{}, map[dot.BranchID]dot.Commit{}
	for _, c := range commits {
		if c.Value.Deleting {
			continue
		}
		counts[c.Value.Branch]++
		if c.Value.Sequence > latest[c.Value.Branch].Sequence {
			latest[c.Value.Branch] = c.Value
		}
	}
	return func(branches []store.Record[dot.Branch]) []*dotmeshv1.Branch {
		var out []*dotmeshv1.Branch
		for _, b := range branches {
			if b.Value.Hidden {
				continue
			}
			shown := api.BranchToProto(b.Value, node(b.Value.Master))
			shown.CommitCount, shown.LatestCommit = counts[b.Value.ID], latest[b.Value.ID].ID.String()
			shown.UsedBytes = uint64(usage[b.Value.ID].ReferencedBytes)
			shown.WrittenBytes = uint64(usage[b.Value.ID].WrittenBytes)
			out = append(out, shown)
		}
		return out
	}, nil
}
