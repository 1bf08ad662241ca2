package engine

import (
	"context"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// Capacity is the room below Parent in bytes: all of it, and what is free.
func (e *Engine) Capacity(ctx context.Context) (total, free int64, err error) {
	usage, err := e.zfs.Usage(ctx, e.parent)
	if err != nil {
		return 0, 0, explain(err, "measuring %s", e.parent)
	}
	return int64(usage.Used + usage.Avail), int64(usage.Avail), nil
}

// BranchUsage is what a branch takes.
type BranchUsage struct {
	ReferencedBytes int64 // its head
	WrittenBytes    int64 // since its newest commit
}

// Usage reads the usage of branches: of all, in one process, when none is named.
func (e *Engine) Usage(ctx context.Context, branches ...dot.BranchID) (map[dot.BranchID]BranchUsage, error) {
	usage := map[dot.BranchID]BranchUsage{}
	roots, depth := []zfs.Dataset{e.parent}, 1
	if len(branches) > 0 {
		roots, depth = nil, 0
	}
	for _, id := range branches {
		b, err := e.here(id)
		if err != nil {
			return nil, err
		}
		roots = append(roots, b.dataset)
	}
	for _, root := range roots {
		items, err := e.zfs.List(ctx, root, zfs.ListOptions{
			Kinds: []zfs.Kind{zfs.KindFilesystem}, Depth: depth,
			Properties: []zfs.Property{zfs.PropReferenced, zfs.PropWritten},
		})
		if err != nil {
			return nil, explain(err, "measuring %s", root)
		}
		for _, item := range items {
			id, err := dot.ParseBranchID(item.Dataset.Base())
			if err != nil {
				continue
			}
			var numbers [2]uint64
			for i, p := range []zfs.Property{zfs.PropReferenced, zfs.PropWritten} {
				if numbers[i], err = item.Values.Uint(p); err != nil {
					return nil, explain(err, "measuring %s", root)
				}
			}
			usage[id] = BranchUsage{int64(numbers[0]), int64(numbers[1])}
		}
	}
	return usage, nil
}
