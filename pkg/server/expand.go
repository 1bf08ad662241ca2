package server

import (
	"context"

	"k8s.io/klog/v2"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// expandVolume raises a volume's recorded size; the node service has the quota
// raised then (ResizeVolume). It never shrinks.
func (p *plane) expandVolume(ctx context.Context, req *dotmeshv1.ExpandVolumeRequest) (*dotmeshv1.ExpandVolumeResponse, error) {
	id, _, err := parseVolume(req.Volume)
	if err != nil {
		return nil, err
	}
	if err := checkRange(req.RequiredBytes, req.LimitBytes); err != nil {
		return nil, err
	}
	unlock, err := p.locks.lock(ctx, volumeLock(id))
	if err != nil {
		return nil, err
	}
	defer unlock()
	var c claim
	err = again(ctx, func() error {
		rec, err := p.store.GetVolume(ctx, id)
		if err != nil {
			return err
		}
		c, err = p.recordSize(ctx, rec, req.RequiredBytes, req.LimitBytes)
		return err
	})
	if err != nil {
		return nil, err
	}
	// The property lets --recover know the size. A retry sets it again, because
	// the registry does not tell whether it was.
	if err := p.engine.SetVolume(ctx, c.volume, c.branch.ID, c.dot.Subdots[c.volume.Subdot]); err != nil {
		return nil, err
	}
	klog.FromContext(ctx).Info("expanded volume", "volume", id, "bytes", c.volume.SizeBytes)
	return &dotmeshv1.ExpandVolumeResponse{SizeBytes: c.volume.SizeBytes}, nil
}

func (p *plane) recordSize(ctx context.Context, rec store.Record[dot.Volume], required, limit int64) (claim, error) {
	v := rec.Value
	c, err := p.claimOf(ctx, v)
	if err != nil {
		return c, err
	}
	if err := p.here(ctx, c.dot, c.branch); err != nil {
		return c, err
	}
	switch {
	case v.State != dot.Ready:
		return c, dot.Errorf(dot.CodeAborted, "volume %s is not ready (%s); try again", v.ID, v.State)
	case v.SizeBytes == 0:
		return c, dot.Precondition("volume %s was written by hand and has no limit of its own", v.ID)
	case limit > 0 && v.SizeBytes > limit:
		return c, dot.Errorf(dot.CodeOutOfRange, "volume %s has %d bytes already, more than the limit asked for, %d; volumes never shrink", v.ID, v.SizeBytes, limit)
	case required > p.health.size():
		return c, dot.Errorf(dot.CodeOutOfRange, "%d bytes are more than the whole pool has (%d)", required, p.health.size())
	case v.ReadOnly:
		return c, dot.Precondition("volume %s is read-only and needs no room", v.ID)
	}
	if required <= v.SizeBytes {
		return c, nil
	}
	all, err := p.volumesOf(ctx, v.Dot)
	if err != nil {
		return c, err
	}
	if err := checkPromises(c.dot.FullName, v.Subdot, required, excluding(onBranch(all, v.Branch), v.ID)); err != nil {
		return c, err
	}
	v.SizeBytes = required
	c.volume = v
	return c, p.apply(ctx, func(t *store.Txn) {
		t.Unchanged(store.VolumeKey(v.ID), rec.Revision).Epoch(c.branch.ID, c.branch.Epoch).PutVolume(v)
	})
}

func excluding(volumes []dot.Volume, id dot.VolumeID) []dot.Volume {
	var others []dot.Volume
	for _, v := range volumes {
		if v.ID != id {
			others = append(others, v)
		}
	}
	return others
}
