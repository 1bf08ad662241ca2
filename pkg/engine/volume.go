package engine

import (
	"context"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// SetVolume records a claim, and its subdot, on the branch's dataset.
func (e *Engine) SetVolume(ctx context.Context, v dot.Volume, branch dot.BranchID, rec dot.SubdotRecord) error {
	if err := checkRecord(v.Subdot, rec); err != nil {
		return err
	}
	props, err := encodeVolume(v, rec)
	if err != nil {
		return err
	}
	return e.describe(ctx, branch, props)
}

// RemoveVolume forgets a claim. It changes no quota and no directory.
func (e *Engine) RemoveVolume(ctx context.Context, branch dot.BranchID, v dot.VolumeID) error {
	b, ok := e.index.branch(branch)
	if !ok {
		return nil
	}
	return explain(e.zfs.InheritProperty(ctx, b.dataset, volumeProperty(v)), "forgetting volume %s of branch %s", v, branch)
}

// SetDot rewrites what the branch's dataset says of its dot: name, owner,
// shares, subdots, released.
func (e *Engine) SetDot(ctx context.Context, branch dot.BranchID, d dot.Dot) error {
	props, err := encodeDot(d)
	if err != nil {
		return err
	}
	return e.describe(ctx, branch, props)
}

func (e *Engine) describe(ctx context.Context, branch dot.BranchID, props zfs.Props) error {
	b, err := e.here(branch)
	if err != nil {
		return err
	}
	return explain(e.zfs.SetProperties(ctx, b.dataset, props), "describing branch %s", branch)
}
