package server

import (
	"context"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// The limit of a volume of the whole dot (__root__) is its dataset's refquota, which
// ZFS refuses where it is less than what is there.

// checkHolds refuses a volume of the whole dot that is smaller than what is there.
func (p *plane) checkHolds(ctx context.Context, name dot.FullName, branch dot.BranchID, v dot.Volume) error {
	if !v.Subdot.IsRoot() || v.SizeBytes == 0 {
		return nil
	}
	held, err := p.engine.HeadBytes(ctx, branch)
	if err == nil && v.SizeBytes < held {
		err = dot.Errorf(dot.CodeOutOfRange, "dot %s holds %d bytes: a volume of the whole of it (%s) needs at least that, and asked for are %d", name, held, dot.RootSubdot, v.SizeBytes)
	}
	return err
}

// possible raises a limit to what ZFS takes, where a larger claim that is gone, or a
// reset, has left more than it. The dot is full then, and can be read and cleared.
func (p *plane) possible(ctx context.Context, branch dot.BranchID, subdot dot.Subdot, quota int64) (int64, error) {
	if !subdot.IsRoot() || quota == 0 {
		return quota, nil
	}
	held, err := p.engine.HeadBytes(ctx, branch)
	return max(quota, held), err
}
