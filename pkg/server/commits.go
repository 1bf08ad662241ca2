package server

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// listCommits gives a branch's history: its commits and, before them, those of
// the branches of the same dot that it comes from.
func (p *plane) listCommits(ctx context.Context, req *dotmeshv1.ListCommitsRequest) (*dotmeshv1.ListCommitsResponse, error) {
	d, err := p.findDot(ctx, req.Dot)
	if err != nil {
		return nil, err
	}
	b, err := p.findBranch(ctx, d.Value, req.Branch)
	if err != nil {
		return nil, err
	}
	commits, err := p.store.ListCommits(ctx, d.Value.ID)
	if err != nil {
		return nil, err
	}
	branches, err := p.store.ListBranches(ctx, d.Value.ID)
	if err != nil {
		return nil, err
	}
	byID := map[dot.BranchID]dot.Branch{}
	for _, rec := range branches {
		byID[rec.Value.ID] = rec.Value
	}
	res := &dotmeshv1.ListCommitsResponse{}
	for _, c := range history(b.Value, byID, commits) {
		res.Commits = append(res.Commits, api.CommitToProto(c, byID[c.Branch].Name))
	}
	return res, nil
}

// history walks from a branch to its origins, and takes of each what came up to the
// commit at which the walk leaves it, whether that commit still exists or not.
// commits are in the order of their sequence.
func history(b dot.Branch, byID map[dot.BranchID]dot.Branch, commits []store.Record[dot.Commit]) []dot.Commit {
	var newestFirst []dot.Commit
	seen := map[dot.BranchID]bool{}
	until := dot.Origin{} // none: up to the branch's end
	for !seen[b.ID] {
		seen[b.ID] = true
		var of []dot.Commit
		for _, c := range commits {
			if c.Value.Branch != b.ID {
				continue
			}
			if until.Sequence > 0 && c.Value.Sequence > until.Sequence {
				break
			}
			if !c.Value.Deleting {
				of = append(of, c.Value)
			}
			if c.Value.ID == until.Commit {
				break
			}
		}
		slices.Reverse(of)
		newestFirst = append(newestFirst, of...)
		if b.Origin == nil {
			break
		}
		from, known := byID[b.Origin.Branch]
		if !known {
			break // of another dot, or gone
		}
		b, until = from, *b.Origin
	}
	slices.Reverse(newestFirst)
	return newestFirst
}

func (p *plane) commitDot(ctx context.Context, req *dotmeshv1.CommitRequest) (*dotmeshv1.CommitResponse, error) {
	metadata := dot.Metadata(req.Metadata)
	if err := firstError(metadata.Check(), dot.CheckMessage(req.Message)); err != nil {
		return nil, err
	}
	d, err := p.findDot(ctx, req.Dot)
	if err != nil {
		return nil, err
	}
	b, err := p.findBranch(ctx, d.Value, req.Branch)
	if err != nil {
		return nil, err
	}
	if err := p.writable(ctx, d.Value, b.Value); err != nil {
		return nil, err
	}
	id, err := keyedCommit(b.Value.ID, req.IdempotencyKey)
	if err != nil {
		return nil, err
	}
	name := dmIntent + id.String()
	unlock, err := p.locks.lock(ctx, snapshotLock(name))
	if err != nil {
		return nil, err
	}
	defer unlock()
	made, there, err := found(p.store.GetCommit(ctx, d.Value.ID, id))
	if err != nil {
		return nil, err
	}
	c := made.Value
	if !there {
		c, err = p.makeCommit(ctx, order{name: name, branch: b.Value, commit: dot.Commit{
			ID: id, Dot: d.Value.ID, Branch: b.Value.ID, Author: callerOf(ctx), Message: req.Message, Time: p.now(), Metadata: metadata,
		}})
		if err != nil {
			return nil, p.endCommit(ctx, name, dot.VolumeID{}, err)
		}
	}
	return &dotmeshv1.CommitResponse{Commit: api.CommitToProto(c, b.Value.Name)}, nil
}

// keyedCommit derives a commit's id from the key of the request, so that a retry
// meets the same commit; without a key every request makes one.
func keyedCommit(branch dot.BranchID, key string) (dot.CommitID, error) {
	if key == "" {
		return dot.NewCommitID(), nil
	}
	space, err := uuid.Parse(branch.String())
	if err != nil {
		return dot.CommitID{}, err
	}
	return dot.ParseCommitID(uuid.NewSHA1(space, []byte(key)).String())
}
