package server

import (
	"context"
	"errors"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// createSnapshot commits the whole dot that a volume claims a part of.
func (p *plane) createSnapshot(ctx context.Context, req *dotmeshv1.CreateSnapshotRequest) (*dotmeshv1.CreateSnapshotResponse, error) {
	if err := checkCSIName(req.CsiName); err != nil {
		return nil, err
	}
	id, _, err := parseVolume(req.Volume)
	if err != nil {
		return nil, err
	}
	metadata := dot.Metadata(req.Metadata)
	if err := firstError(metadata.Check(), dot.CheckMessage(req.Message)); err != nil {
		return nil, err
	}
	unlock, err := p.locks.lock(ctx, snapshotLock(req.CsiName))
	if err != nil {
		return nil, err
	}
	defer unlock()
	c, err := p.commitRemembered(ctx, req, id)
	if errors.Is(err, errOutdated) {
		c, err = p.commitRead(ctx, req, id)
	}
	switch {
	case err == nil:
		return snapshotResponse(c, req.Volume), nil
	case errors.Is(err, errDone):
		return p.meetSnapshot(ctx, req, id)
	}
	return nil, p.endCommit(ctx, req.CsiName, id, err)
}

// commitRemembered commits a volume without reading it; errOutdated when it has to
// be read.
func (p *plane) commitRemembered(ctx context.Context, req *dotmeshv1.CreateSnapshotRequest, id dot.VolumeID) (dot.Commit, error) {
	from, ok := p.memory.recall(id)
	if !ok {
		return dot.Commit{}, errOutdated
	}
	c, err := p.commitVolume(ctx, req, from)
	if errors.Is(err, errOutdated) {
		p.memory.forget(id)
	}
	return c, err
}

func (p *plane) commitRead(ctx context.Context, req *dotmeshv1.CreateSnapshotRequest, id dot.VolumeID) (dot.Commit, error) {
	v, there, err := found(p.store.GetVolume(ctx, id))
	if err != nil {
		return dot.Commit{}, err
	}
	if !there {
		return dot.Commit{}, errDone // or it never was: the caller looks
	}
	b, err := p.store.FindBranch(ctx, v.Value.Branch)
	if err != nil {
		return dot.Commit{}, err
	}
	return p.commitVolume(ctx, req, remembered{volume: v, branch: b.Value, fresh: true})
}

// commitVolume makes the commit that a request is for; errOutdated when what is
// remembered of the volume is not so any more.
func (p *plane) commitVolume(ctx context.Context, req *dotmeshv1.CreateSnapshotRequest, from remembered) (dot.Commit, error) {
	v, b := from.volume.Value, from.branch
	switch {
	case v.State != dot.Ready:
		return dot.Commit{}, dot.Errorf(dot.CodeAborted, "volume %s is not ready (%s); try again", v.ID, v.State)
	case b.Master != p.pool:
		return dot.Commit{}, p.elsewhere(ctx, "volume "+v.ID.String(), b.Master)
	case b.Hidden:
		return dot.Commit{}, dot.Errorf(dot.CodeAborted, "the branch of volume %s was reset or deleted meanwhile; try again", v.ID)
	}
	p.memory.keep(from)
	o := order{name: req.CsiName, branch: b, commit: dot.Commit{
		Dot: v.Dot, Branch: v.Branch, Author: callerOf(ctx), Message: req.Message, Time: p.now(),
		Metadata: dot.Metadata(req.Metadata), Volume: v.ID, Subdot: v.Subdot, SizeBytes: v.SizeBytes, CSIName: req.CsiName,
	}}
	if !from.fresh {
		o.volumeAt = from.volume.Revision
	}
	return p.makeCommit(ctx, o)
}

// snapshotResponse names the source as the caller does: by a hand-written handle,
// if that is what the volume has.
func snapshotResponse(c dot.Commit, volume string) *dotmeshv1.CreateSnapshotResponse {
	out := api.SnapshotToProto(c)
	out.SourceVolume = volume
	return &dotmeshv1.CreateSnapshotResponse{Snapshot: out}
}

// meetSnapshot answers a request whose snapshot exists, or whose volume does not:
// what an earlier try has begun is undone then.
func (p *plane) meetSnapshot(ctx context.Context, req *dotmeshv1.CreateSnapshotRequest, volume dot.VolumeID) (*dotmeshv1.CreateSnapshotResponse, error) {
	s, there, err := found(p.store.GetSnapshot(ctx, req.CsiName))
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, p.endCommit(ctx, req.CsiName, volume, dot.NotFound("volume %s does not exist", req.Volume))
	}
	if s.Value.Volume != volume {
		return nil, dot.Errorf(dot.CodeExists, "a snapshot of the name %q exists of another volume", req.CsiName)
	}
	c, err := p.store.GetCommit(ctx, s.Value.Dot, s.Value.Commit)
	if err != nil {
		return nil, err
	}
	return snapshotResponse(c.Value, req.Volume), nil
}

// deleteSnapshot takes the commit out of sight; its ZFS snapshot goes in the
// background, when no clone needs it any more.
func (p *plane) deleteSnapshot(ctx context.Context, req *dotmeshv1.DeleteSnapshotRequest) (*dotmeshv1.DeleteSnapshotResponse, error) {
	done := &dotmeshv1.DeleteSnapshotResponse{}
	if req.Handle == "" {
		return nil, dot.Invalid("the snapshot's handle is missing")
	}
	h, err := dot.ParseSnapshotHandle(req.Handle)
	if err != nil {
		return done, nil //nolint:nilerr // what cannot be a handle names nothing that exists
	}
	var c store.Record[dot.Commit]
	err = again(ctx, func() error {
		var there bool
		if c, there, err = found(p.findCommit(ctx, h)); err != nil {
			return err
		}
		if !there {
			return p.notWhileRebuilding("snapshot " + req.Handle + " is not known, and may be there")
		}
		b, there, err := found(p.store.FindBranch(ctx, c.Value.Branch))
		if err == nil && there && b.Value.Master != p.pool {
			err = p.elsewhere(ctx, "snapshot "+req.Handle, b.Value.Master)
		}
		if err != nil {
			return err
		}
		return p.markDeleting(ctx, c)
	})
	if !c.Value.ID.IsZero() { // also when the answer was lost
		p.work.soon(p.commitJob(c.Value.Dot, c.Value.ID))
	}
	return done, err
}

func (p *plane) markDeleting(ctx context.Context, c store.Record[dot.Commit]) error {
	gone := c.Value
	gone.Deleting = true
	// A recovery can have found the name in use for another commit.
	named := store.Record[store.Snapshot]{}
	if gone.CSIName != "" {
		var err error
		if named, _, err = found(p.store.GetSnapshot(ctx, gone.CSIName)); err != nil {
			return err
		}
	}
	return p.apply(ctx, func(t *store.Txn) {
		t.Unchanged(store.CommitKey(gone.Dot, gone.ID), c.Revision).PutCommit(gone)
		if named.Value.Dot == gone.Dot && named.Value.Commit == gone.ID {
			t.Unchanged(store.SnapshotKey(gone.CSIName), named.Revision).DeleteSnapshot(gone.CSIName)
		}
	})
}

// commitJob destroys the snapshot of a commit that is on its way out and then
// forgets the commit. The engine keeps a snapshot that clones need, marked, and
// destroys it with the last of them.
func (p *plane) commitJob(id dot.ID, commit dot.CommitID) job {
	return job{key: "commit " + id.String() + "/" + commit.String(), run: func(ctx context.Context) error {
		c, there, err := found(p.store.GetCommit(ctx, id, commit))
		if err != nil || !there || !c.Value.Deleting {
			return err
		}
		b, there, err := found(p.store.FindBranch(ctx, c.Value.Branch))
		if err != nil || there && b.Value.Master != p.pool {
			return err // its snapshot is for that pool's server to destroy
		}
		if err := p.dropSnapshot(ctx, engine.CommitRef{Branch: c.Value.Branch, Commit: commit, GUID: c.Value.GUID}); err != nil {
			return err
		}
		err = p.apply(ctx, func(t *store.Txn) {
			t.Unchanged(store.CommitKey(id, commit), c.Revision).DeleteCommit(id, commit)
		})
		if err == nil {
			p.work.soon(p.dotJob(id)) // its branch may have waited for this
		}
		return err
	}}
}

func (p *plane) getSnapshot(ctx context.Context, req *dotmeshv1.GetSnapshotRequest) (*dotmeshv1.GetSnapshotResponse, error) {
	if req.Handle == "" {
		return nil, dot.Invalid("the snapshot's handle is missing")
	}
	h, err := dot.ParseSnapshotHandle(req.Handle)
	if err != nil {
		return nil, dot.NotFound("snapshot %q does not exist: %w", req.Handle, err)
	}
	c, err := p.findCommit(ctx, h)
	if err != nil {
		return nil, err
	}
	return &dotmeshv1.GetSnapshotResponse{Snapshot: api.SnapshotToProto(c.Value)}, nil
}

// listSnapshots lists what CreateSnapshot made; commits of dm's are found by
// their handles.
func (p *plane) listSnapshots(ctx context.Context, req *dotmeshv1.ListSnapshotsRequest) (*dotmeshv1.ListSnapshotsResponse, error) {
	limit, err := pageSize(req.MaxEntries)
	if err != nil {
		return nil, err
	}
	after, err := parseSnapshotToken(req.StartingToken)
	if err != nil {
		return nil, err
	}
	res := &dotmeshv1.ListSnapshotsResponse{}
	only := dot.VolumeID{}
	if req.Volume != "" {
		if only, _, err = parseVolume(req.Volume); err != nil {
			return res, nil //nolint:nilerr // what names no volume has no snapshots
		}
	}
	commits := commitReader{p: p, read: map[dot.ID]map[dot.CommitID]dot.Commit{}}
	for more := true; more && (req.MaxEntries == 0 || len(res.Snapshots) < limit); {
		want := limit
		if req.MaxEntries != 0 {
			want -= len(res.Snapshots)
		}
		page, next, err := p.store.ListSnapshots(ctx, after, want)
		if err != nil {
			return nil, err
		}
		for _, rec := range page {
			after = rec.Value.CSIName
			if !only.IsZero() && rec.Value.Volume != only {
				continue
			}
			c, there, err := commits.get(ctx, rec.Value.Dot, rec.Value.Commit)
			if err != nil {
				return nil, err
			}
			if there {
				res.Snapshots = append(res.Snapshots, api.SnapshotToProto(c))
			}
		}
		res.NextToken = ""
		if more = next; more {
			res.NextToken = snapshotToken(after)
		}
	}
	return res, nil
}

// commitReader reads the commits of each dot once.
type commitReader struct {
	p    *plane
	read map[dot.ID]map[dot.CommitID]dot.Commit
}

func (r commitReader) get(ctx context.Context, id dot.ID, commit dot.CommitID) (dot.Commit, bool, error) {
	of, ok := r.read[id]
	if !ok {
		list, err := r.p.store.ListCommits(ctx, id)
		if err != nil {
			return dot.Commit{}, false, err
		}
		of = map[dot.CommitID]dot.Commit{}
		for _, c := range list {
			of[c.Value.ID] = c.Value
		}
		r.read[id] = of
	}
	c, there := of[commit]
	return c, there, nil
}
