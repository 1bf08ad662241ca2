package server

import (
	"context"
	"slices"
	"strings"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
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
	describe := p.describer(ctx, commits, nil)
	of := map[dot.ID][]store.Record[dot.Branch]{}
	for _, b := range branches {
		of[b.Value.Dot] = append(of[b.Value.Dot], b)
	}
	res := &dotmeshv1.ListDotsResponse{}
	for _, d := range dots {
		if d.Value.State == dot.Deleting || req.Released && !d.Value.Released {
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
		ids = append(ids, b.Value.ID)
		byID[b.Value.ID] = b.Value
	}
	out := api.DotToProto(d.Value)
	out.Branches = p.describer(ctx, commits, ids)(branches)
	for _, v := range volumes {
		out.Volumes = append(out.Volumes, p.volumeToProto(ctx, claim{volume: v, dot: d.Value, branch: byID[v.Branch]}))
	}
	return &dotmeshv1.GetDotResponse{Dot: out}, nil
}

// describer converts the visible branches of a dot with their commit counts and
// usage; of is whose usage is asked for, nil: all.
func (p *plane) describer(ctx context.Context, commits []store.Record[dot.Commit], of []dot.BranchID) func([]store.Record[dot.Branch]) []*dotmeshv1.Branch {
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
	usage := p.usage(ctx, of)
	return func(branches []store.Record[dot.Branch]) []*dotmeshv1.Branch {
		var out []*dotmeshv1.Branch
		for _, b := range branches {
			if b.Value.Hidden {
				continue
			}
			shown := api.BranchToProto(b.Value, p.nodeOf(ctx, b.Value.Master))
			shown.CommitCount, shown.LatestCommit = counts[b.Value.ID], latest[b.Value.ID].ID.String()
			shown.UsedBytes = uint64(usage[b.Value.ID].ReferencedBytes)
			shown.WrittenBytes = uint64(usage[b.Value.ID].WrittenBytes)
			out = append(out, shown)
		}
		return out
	}
}

// usage asks the pool in one process. A list without sizes is better than none.
func (p *plane) usage(ctx context.Context, of []dot.BranchID) map[dot.BranchID]engine.BranchUsage {
	here := slices.DeleteFunc(slices.Clone(of), func(id dot.BranchID) bool { return !p.engine.HasBranch(id) })
	if of != nil && len(here) == 0 {
		return nil
	}
	usage, err := p.engine.Usage(ctx, here...)
	if err != nil {
		klog.FromContext(ctx).Error(err, "usage is not known")
	}
	return usage
}
