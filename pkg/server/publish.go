package server

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"k8s.io/klog/v2"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// publishVolume lets one node mount a volume. A branch has one writer node, the
// one whose server holds its head.
func (p *plane) publishVolume(ctx context.Context, req *dotmeshv1.PublishVolumeRequest) (*dotmeshv1.PublishVolumeResponse, error) {
	id, static, err := parseVolume(req.Volume)
	if err != nil {
		return nil, err
	}
	if req.Node == "" {
		return nil, dot.Invalid("the node's name is missing")
	}
	unlock, err := p.locks.lock(ctx, volumeLock(id))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := p.knownNode(ctx, req.Node); err != nil {
		if dot.CodeOf(err) == dot.CodeNotFound {
			err = p.insteadOf(ctx, req.Node, id, static)
		}
		return nil, err
	}
	if static != nil {
		if err := p.claimStatic(ctx, id, *static); err != nil {
			return nil, err
		}
	}
	var c claim
	err = again(ctx, func() error {
		rec, err := p.store.GetVolume(ctx, id)
		if err != nil {
			return err
		}
		if c, err = p.claimOf(ctx, rec.Value); err != nil {
			return err
		}
		p.noteWanted(ctx, c.branch.Master)
		return p.recordPublication(ctx, c, rec.Revision, dot.Publication{Node: req.Node, ReadOnly: req.ReadOnly, Since: p.now()})
	})
	if err != nil {
		return nil, err
	}
	return &dotmeshv1.PublishVolumeResponse{Pool: c.branch.Master.String()}, nil
}

// recordPublication writes a publication that is allowed and not there yet.
func (p *plane) recordPublication(ctx context.Context, c claim, revision int64, pub dot.Publication) error {
	v := c.volume
	if v.State != dot.Ready {
		return dot.Errorf(dot.CodeAborted, "volume %s is not ready (%s); try again", v.ID, v.State)
	}
	master := p.nodeOf(ctx, c.branch.Master)
	if master != pub.Node {
		return dot.Precondition("dot %s is on node %s; pods that use it must run there", c.dot.FullName, master)
	}
	if old, there := v.Publications[pub.Node]; there && !old.Unconfirmed {
		if old.ReadOnly != pub.ReadOnly {
			return dot.Errorf(dot.CodeExists, "volume %s is published to node %s already, with read-only %t instead of %t; delete the pods that use it, then try again", v.ID, pub.Node, old.ReadOnly, pub.ReadOnly)
		}
		return nil
	}
	// Only the pool's own server knows whether it is about to let go of the pool.
	if err := p.here(ctx, c.dot, c.branch); err != nil {
		return err
	}
	v.Publications = maps.Clone(v.Publications)
	if v.Publications == nil {
		v.Publications = map[string]dot.Publication{}
	}
	v.Publications[pub.Node] = pub
	return p.apply(ctx, func(t *store.Txn) {
		t.Unchanged(store.VolumeKey(v.ID), revision).Epoch(c.branch.ID, c.branch.Epoch).PutVolume(v)
	})
}

// knownNode refuses a node on which no server of ours ever ran.
func (p *plane) knownNode(ctx context.Context, node string) error {
	if node == p.node {
		return nil
	}
	pools, err := p.store.ListPools(ctx)
	if err != nil {
		return err
	}
	for _, pool := range pools {
		if pool.Value.Node == node {
			return nil
		}
	}
	return dot.NotFound("no dotmesh server runs on node %q", node)
}

// insteadOf tells where a volume can be used whose pod is on a node without a
// server, or that it is not there at all.
func (p *plane) insteadOf(ctx context.Context, node string, id dot.VolumeID, static *dot.DotSubdot) error {
	var c claim
	rec, there, err := found(p.store.GetVolume(ctx, id))
	switch {
	case err != nil:
		return err
	case there:
		c, err = p.claimOf(ctx, rec.Value)
	case static != nil:
		c, err = p.staticClaim(ctx, *static)
	default:
		return dot.NotFound("volume %s does not exist", id)
	}
	if err != nil {
		return err
	}
	return dot.NotFound("no dotmesh server runs on node %q; dot %s is on node %s: pods that use it must run there", node, c.dot.FullName, p.nodeOf(ctx, c.branch.Master))
}

// staticClaim finds what a handle names that was written by hand.
func (p *plane) staticClaim(ctx context.Context, s dot.DotSubdot) (claim, error) {
	d, there, err := p.lookup(ctx, s.Dot)
	if err == nil && !there {
		err = noSuchDot(s.Dot)
	}
	if err != nil {
		return claim{}, err
	}
	b, err := p.findBranch(ctx, d.Value, s.Branch.String())
	return claim{dot: d.Value, branch: b.Value}, err
}

// claimStatic writes the volume of a handle that names a dot: a PersistentVolume
// that an administrator wrote by hand, who decides thereby who may use the dot.
func (p *plane) claimStatic(ctx context.Context, id dot.VolumeID, s dot.DotSubdot) error {
	var c claim
	err := again(ctx, func() error {
		rec, there, err := found(p.store.GetVolume(ctx, id))
		if err != nil {
			return err
		}
		if there {
			c = claim{volume: rec.Value}
			return nil
		}
		d, there, err := p.lookup(ctx, s.Dot)
		if err != nil {
			return err
		}
		if !there {
			return noSuchDot(s.Dot)
		}
		v := dot.Volume{ID: id, State: dot.Creating, Subdot: s.Subdot, Created: p.now()}
		c, err = p.recordJoin(ctx, v, s.Branch, d)
		return err
	})
	if err != nil {
		return err
	}
	if c.volume.CSIName != "" {
		return dot.Errorf(dot.CodeExists, "the handle %s.%s is taken by a volume of that CSI name", s.Dot, s.Subdot)
	}
	if c.volume.State == dot.Creating {
		if c, err = p.claimOf(ctx, c.volume); err == nil {
			_, err = p.finishCreate(ctx, c)
		}
	}
	return err
}

// unpublishVolume takes the leave to mount away, also of a volume that is gone. It
// asks no node: the node service has unmounted by itself, or the node is gone.
func (p *plane) unpublishVolume(ctx context.Context, req *dotmeshv1.UnpublishVolumeRequest) (*dotmeshv1.UnpublishVolumeResponse, error) {
	done := &dotmeshv1.UnpublishVolumeResponse{}
	id, static, err := parseVolume(req.Volume)
	if dot.CodeOf(err) == dot.CodeNotFound && err != nil {
		return done, nil
	}
	if err != nil {
		return nil, err
	}
	unlock, err := p.locks.lock(ctx, volumeLock(id))
	if err != nil {
		return nil, err
	}
	defer unlock()
	left := 0
	err = again(ctx, func() error {
		rec, there, err := found(p.store.GetVolume(ctx, id))
		if err != nil || !there {
			return err
		}
		v := rec.Value
		kept := maps.Clone(v.Publications)
		maps.DeleteFunc(kept, func(node string, _ dot.Publication) bool { return req.Node == "" || node == req.Node })
		left = len(kept)
		if left == len(v.Publications) {
			return nil
		}
		v.Publications = kept
		return p.apply(ctx, func(t *store.Txn) { t.Unchanged(store.VolumeKey(id), rec.Revision).PutVolume(v) })
	})
	if err == nil && static != nil && left == 0 {
		p.work.soon(p.staticJob(id))
	}
	return done, err
}

// staticJob lets go of a hand-written PersistentVolume's claim once no node may
// mount it: nobody will ever call DeleteVolume for it.
func (p *plane) staticJob(id dot.VolumeID) job {
	return job{key: "claim " + id.String(), run: func(ctx context.Context) error {
		unlock, err := p.locks.lock(ctx, volumeLock(id))
		if err != nil {
			return err
		}
		defer unlock()
		rec, there, err := found(p.store.GetVolume(ctx, id))
		if err != nil || !there || len(rec.Value.Publications) > 0 {
			return err
		}
		err = p.removeClaim(ctx, rec, keepDot)
		var other *elsewhere
		if errors.As(err, &other) {
			return p.letGoThere(ctx, id, other.pool)
		}
		return err
	}}
}

// letGoThere has another pool's server let go of such a claim. What it refuses has
// changed meanwhile: the volume was published again.
func (p *plane) letGoThere(ctx context.Context, id dot.VolumeID, pool dot.Pool) error {
	ctx, cancel := context.WithTimeout(withPrincipal(ctx, principal{adminName, roleController}), askTimeout)
	defer cancel()
	_, err := ask(ctx, p, pool, func(ctx context.Context, c *client.Client) (*connect.Response[dotmeshv1.DeleteVolumeResponse], error) {
		return c.Volumes.DeleteVolume(ctx, connect.NewRequest(&dotmeshv1.DeleteVolumeRequest{Volume: id.String()}))
	})
	if err != nil && final(err) {
		klog.FromContext(ctx).Info("a claim stays", "volume", id, "because", err)
		return nil
	}
	return err
}

func publishedTo(v dot.Volume) string {
	return strings.Join(slices.Sorted(maps.Keys(v.Publications)), ", ")
}
