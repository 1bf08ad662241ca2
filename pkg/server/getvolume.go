package server

import (
	"context"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func (p *plane) getVolume(ctx context.Context, req *dotmeshv1.GetVolumeRequest) (*dotmeshv1.GetVolumeResponse, error) {
	id, static, err := parseVolume(req.Volume)
	if err != nil {
		return nil, err
	}
	rec, there, err := found(p.store.GetVolume(ctx, id))
	if err != nil {
		return nil, err
	}
	if !there && static != nil {
		return p.describeStatic(ctx, *static)
	}
	if !there {
		return nil, dot.NotFound("volume %s does not exist", req.Volume)
	}
	c, err := p.claimOf(ctx, rec.Value)
	if err != nil {
		return nil, err
	}
	return &dotmeshv1.GetVolumeResponse{Volume: p.volumeToProto(ctx, c)}, nil
}

// describeStatic tells of a hand-written handle that was not published yet: the
// volume is there as soon as its dot is.
func (p *plane) describeStatic(ctx context.Context, s dot.DotSubdot) (*dotmeshv1.GetVolumeResponse, error) {
	d, there, err := p.lookup(ctx, s.Dot)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, dot.NotFound("dot %s does not exist", s.Dot)
	}
	b, err := p.store.GetBranch(ctx, d.Value.ID, s.Branch)
	if err != nil {
		return nil, err
	}
	v := dot.Volume{Dot: d.Value.ID, Branch: b.Value.ID, Subdot: s.Subdot, State: dot.Creating}
	return &dotmeshv1.GetVolumeResponse{Volume: p.volumeToProto(ctx, claim{volume: v, dot: d.Value, branch: b.Value})}, nil
}
