package server

import (
	"context"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
)

// prepareVolume makes a published volume mountable on this machine.
func (p *plane) prepareVolume(ctx context.Context, req *dotmeshv1.PrepareVolumeRequest) (*dotmeshv1.PrepareVolumeResponse, error) {
	c, unlock, err := p.localClaim(ctx, req.Volume)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if req.Node != p.node {
		return nil, dot.Precondition("this is the server of node %s, not of %q", p.node, req.Node)
	}
	pub, published := c.volume.Publications[req.Node]
	if !published || pub.Unconfirmed {
		return nil, dot.Precondition("volume %s is not published to node %s", c.volume.ID, req.Node)
	}
	quota, head, err := p.quotasOf(ctx, c)
	if err != nil {
		return nil, err
	}
	if quota, err = p.possible(ctx, c.branch.ID, c.volume.Subdot, quota); err != nil {
		return nil, err
	}
	rec := c.dot.Subdots[c.volume.Subdot]
	m, err := p.engine.Prepare(ctx, engine.PrepareSpec{
		Branch: c.branch.ID, Subdot: c.volume.Subdot, Record: rec, QuotaBytes: quota, Head: head, ReadOnly: c.branch.ReadOnly,
	})
	if err != nil {
		return nil, err
	}
	return &dotmeshv1.PrepareVolumeResponse{
		Dataset: m.Dataset.String(), DatasetGuid: m.GUID, Subdot: m.Directory, ReadOnly: m.ReadOnly,
		BranchId: c.branch.ID.String(), Epoch: c.branch.Epoch.String(), ProjectId: rec.ProjectID,
	}, nil
}

// resizeVolume applies the recorded size to the quota.
func (p *plane) resizeVolume(ctx context.Context, req *dotmeshv1.ResizeVolumeRequest) (*dotmeshv1.ResizeVolumeResponse, error) {
	c, unlock, err := p.localClaim(ctx, req.Volume)
	if err != nil {
		return nil, err
	}
	defer unlock()
	quota, head, err := p.quotasOf(ctx, c)
	if err != nil {
		return nil, err
	}
	if quota, err = p.possible(ctx, c.branch.ID, c.volume.Subdot, quota); err != nil {
		return nil, err
	}
	if !c.branch.ReadOnly {
		if err := p.engine.SetQuotas(ctx, c.branch.ID, c.volume.Subdot, c.dot.Subdots[c.volume.Subdot], quota, head); err != nil {
			return nil, err
		}
	}
	return &dotmeshv1.ResizeVolumeResponse{SizeBytes: c.volume.SizeBytes}, nil
}

// localClaim finds a volume that is ready and whose branch this server writes,
// and locks its dot.
func (p *plane) localClaim(ctx context.Context, handle string) (claim, func(), error) {
	id, _, err := parseVolume(handle)
	if err != nil {
		return claim{}, nil, err
	}
	if _, err := p.lease.current(); err != nil {
		return claim{}, nil, err
	}
	v, err := p.store.GetVolume(ctx, id)
	if err != nil {
		return claim{}, nil, err
	}
	unlock, err := p.locks.lock(ctx, dotLock(v.Value.Dot))
	if err != nil {
		return claim{}, nil, err
	}
	if v, err = p.store.GetVolume(ctx, id); err == nil {
		var c claim
		if c, err = p.readyClaim(ctx, v.Value); err == nil {
			return c, unlock, nil
		}
	}
	unlock()
	return claim{}, nil, err
}

func (p *plane) readyClaim(ctx context.Context, v dot.Volume) (claim, error) {
	c, err := p.claimOf(ctx, v)
	if err != nil {
		return c, err
	}
	if v.State != dot.Ready || c.branch.State != dot.Ready || c.branch.Hidden {
		return c, dot.Errorf(dot.CodeAborted, "volume %s is not ready (%s); try again", v.ID, v.State)
	}
	return c, p.here(ctx, c.dot, c.branch)
}

// quotasOf gives the largest size of the claims on the volume's subdot, 0 where
// none of them has one, and the limit of its branch as a whole.
func (p *plane) quotasOf(ctx context.Context, c claim) (int64, engine.HeadLimit, error) {
	all, err := p.volumesOf(ctx, c.dot.ID)
	if err != nil {
		return 0, engine.HeadLimit{}, err
	}
	quota := int64(0)
	for _, v := range onBranch(all, c.branch.ID) {
		if v.Subdot == c.volume.Subdot && v.State != dot.Deleting {
			quota = max(quota, v.SizeBytes)
		}
	}
	return quota, engine.HeadLimitOf(c.dot, c.branch, all), nil
}
