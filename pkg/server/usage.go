package server

import (
	"context"
	"slices"

	"k8s.io/klog/v2"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// usage asks this pool in one process for what branches take; nil: all. A list
// without sizes is better than none.
func (p *plane) usage(ctx context.Context, of []dot.BranchID) map[dot.BranchID]engine.BranchUsage {
	here := slices.DeleteFunc(slices.Clone(of), func(id dot.BranchID) bool { return !p.engine.HasBranch(id) })
	if of != nil && len(here) == 0 {
		return map[dot.BranchID]engine.BranchUsage{}
	}
	usage, err := p.engine.Usage(ctx, here...)
	if err != nil {
		klog.FromContext(ctx).Error(err, "usage is not known")
		return map[dot.BranchID]engine.BranchUsage{}
	}
	return usage
}

// addUsage adds what branches on other pools take, as far as their servers tell: all
// are asked at once, in the way that list does.
func (p *plane) addUsage(ctx context.Context, usage map[dot.BranchID]engine.BranchUsage, branches []store.Record[dot.Branch], list func(context.Context, *client.Client) ([]*dotmeshv1.Dot, error)) {
	asked := map[dot.PoolID]bool{p.pool: true}
	for _, b := range branches {
		if !b.Value.Hidden {
			asked[b.Value.Master] = true
		}
	}
	if len(asked) == 1 {
		return
	}
	all, err := p.standings(ctx)
	if err != nil {
		klog.FromContext(ctx).Error(err, "the usage of other pools is not known")
		return
	}
	var others []dot.Pool
	for _, s := range all {
		if asked[s.ID] && s.alive && s.ID != p.pool {
			others = append(others, s.Pool)
		}
	}
	for _, dots := range askAll(ctx, p, others, list) {
		for _, d := range dots {
			for _, b := range d.GetBranches() {
				id, err := dot.ParseBranchID(b.Id)
				if _, known := usage[id]; err == nil && !known {
					usage[id] = engine.BranchUsage{ReferencedBytes: int64(b.UsedBytes), WrittenBytes: int64(b.WrittenBytes)}
				}
			}
		}
	}
}
