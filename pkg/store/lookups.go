package store

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// GetDot reads a dot.
func (s *Store) GetDot(ctx context.Context, id dot.ID) (Record[dot.Dot], error) {
	return get(ctx, s, dotCodec, DotKey(id), "dot "+id.String())
}

// ListDots reads all dots.
func (s *Store) ListDots(ctx context.Context) ([]Record[dot.Dot], error) {
	return list(ctx, s, dotCodec, Of(KindDots))
}

// LookupName tells which dot has a name.
func (s *Store) LookupName(ctx context.Context, name dot.FullName) (Record[dot.ID], error) {
	return get(ctx, s, nameCodec, NameKey(name), "dot "+name.String())
}

// ListNames tells which dots have names.
func (s *Store) ListNames(ctx context.Context) (map[dot.FullName]dot.ID, error) {
	items, _, err := s.scan(ctx, Of(KindNames))
	if err != nil {
		return nil, err
	}
	ids, err := decodeAll(nameCodec, items)
	names := make(map[dot.FullName]dot.ID, len(ids))
	for i, id := range ids {
		names[items[i].key.FullName()] = id.Value
	}
	return names, err
}

// GetBranch reads a branch.
func (s *Store) GetBranch(ctx context.Context, id dot.ID, name dot.BranchName) (Record[dot.Branch], error) {
	return get(ctx, s, branchCodec, BranchKey(id, name), "branch "+name.String()+" of dot "+id.String())
}

// FindBranch reads a branch by its id, whatever its name is now.
func (s *Store) FindBranch(ctx context.Context, id dot.BranchID) (Record[dot.Branch], error) {
	what := "branch " + id.String()
	// A branch that is renamed between the two reads is found by the next try.
	const attempts = 3
	for attempt := 1; ; attempt++ {
		ref, err := get(ctx, s, branchRefCodec, BranchIDKey(id), what)
		if err != nil {
			return Record[dot.Branch]{}, err
		}
		branch, err := s.GetBranch(ctx, ref.Value.Dot, ref.Value.Name)
		switch {
		case err == nil && branch.Value.ID == id:
			return branch, nil
		case err != nil && dot.CodeOf(err) != dot.CodeNotFound:
			return Record[dot.Branch]{}, err
		case attempt == attempts:
			return Record[dot.Branch]{}, dot.NotFound("%s does not exist under the name %s that the registry has for it", what, ref.Value.Name)
		}
	}
}

// ListBranches reads all branches of a dot, hidden ones too.
func (s *Store) ListBranches(ctx context.Context, id dot.ID) ([]Record[dot.Branch], error) {
	return list(ctx, s, branchCodec, BranchesOf(id))
}

// ListAllBranches reads the branches of all dots.
func (s *Store) ListAllBranches(ctx context.Context) ([]Record[dot.Branch], error) {
	return list(ctx, s, branchCodec, Of(KindBranches))
}

// GetCommit reads a commit.
func (s *Store) GetCommit(ctx context.Context, id dot.ID, commit dot.CommitID) (Record[dot.Commit], error) {
	return get(ctx, s, commitCodec, CommitKey(id, commit), "commit "+commit.String()+" of dot "+id.String())
}

// ListCommits reads all commits of a dot; those of one branch are in the order
// in which they were made.
func (s *Store) ListCommits(ctx context.Context, id dot.ID) ([]Record[dot.Commit], error) {
	commits, err := list(ctx, s, commitCodec, CommitsOf(id))
	slices.SortStableFunc(commits, func(a, b Record[dot.Commit]) int {
		switch {
		case a.Value.Sequence < b.Value.Sequence:
			return -1
		case a.Value.Sequence > b.Value.Sequence:
			return 1
		}
		return 0
	})
	return commits, err
}

// ListAllCommits reads the commits of all dots.
func (s *Store) ListAllCommits(ctx context.Context) ([]Record[dot.Commit], error) {
	return list(ctx, s, commitCodec, Of(KindCommits))
}

// GetVolume reads a volume.
func (s *Store) GetVolume(ctx context.Context, id dot.VolumeID) (Record[dot.Volume], error) {
	return get(ctx, s, volumeCodec, VolumeKey(id), "volume "+id.String())
}

// ListVolumes reads up to limit (at most 500, which 0 means too) volumes whose
// ids come after one (none: from the start). more tells whether to go on, after
// the last one of these.
func (s *Store) ListVolumes(ctx context.Context, after dot.VolumeID, limit int) (volumes []Record[dot.Volume], more bool, err error) {
	var from Key
	if !after.IsZero() {
		from = VolumeKey(after)
	}
	return page(ctx, s, volumeCodec, Of(KindVolumes), from, limit)
}

// ListAllVolumes reads all volumes.
func (s *Store) ListAllVolumes(ctx context.Context) ([]Record[dot.Volume], error) {
	return list(ctx, s, volumeCodec, Of(KindVolumes))
}

// ListVolumesOf reads the volumes of a dot, as they were at one revision. It
// decodes no others, which is what takes most of the time of ListAllVolumes.
func (s *Store) ListVolumesOf(ctx context.Context, id dot.ID) ([]Record[dot.Volume], error) {
	items, _, err := s.scan(ctx, Of(KindVolumes))
	if err != nil {
		return nil, err
	}
	// JSON spells an id as String does. A source can name the dot too.
	named := []byte(id.String())
	items = slices.DeleteFunc(items, func(it item) bool { return !bytes.Contains(it.value, named) })
	volumes, err := decodeAll(volumeCodec, items)
	return slices.DeleteFunc(volumes, func(v Record[dot.Volume]) bool { return v.Value.Dot != id }), err
}

// ListPublishedTo reads the volumes that a node may mount, as they were at one
// revision. It decodes few others.
func (s *Store) ListPublishedTo(ctx context.Context, node string) ([]Record[dot.Volume], error) {
	items, _, err := s.scan(ctx, Of(KindVolumes))
	if err != nil {
		return nil, err
	}
	named, err := json.Marshal(node)
	if err != nil {
		return nil, dot.Invalid("node %q: %w", node, err)
	}
	items = slices.DeleteFunc(items, func(it item) bool { return !bytes.Contains(it.value, named) })
	volumes, err := decodeAll(volumeCodec, items)
	return slices.DeleteFunc(volumes, func(v Record[dot.Volume]) bool {
		_, may := v.Value.Publications[node]
		return !may
	}), err
}

// GetIntent reads what CreateSnapshot of a CSI name has begun.
func (s *Store) GetIntent(ctx context.Context, csiName string) (Record[Intent], error) {
	return get(ctx, s, intentCodec, IntentKey(csiName), "the begun snapshot "+csiName)
}

// ListIntents reads all begun snapshots.
func (s *Store) ListIntents(ctx context.Context) ([]Record[Intent], error) {
	return list(ctx, s, intentCodec, Of(KindIntents))
}

// GetSnapshot reads what CreateSnapshot of a CSI name has made.
func (s *Store) GetSnapshot(ctx context.Context, csiName string) (Record[Snapshot], error) {
	return get(ctx, s, snapshotCodec, SnapshotKey(csiName), "snapshot "+csiName)
}

// ListSnapshots reads up to limit (at most 500, which 0 means too) snapshots in
// an order of their own; afterName is the CSI name of the last one of the page
// before, "" to start.
func (s *Store) ListSnapshots(ctx context.Context, afterName string, limit int) (snapshots []Record[Snapshot], more bool, err error) {
	var from Key
	if afterName != "" {
		from = SnapshotKey(afterName)
	}
	return page(ctx, s, snapshotCodec, Of(KindSnapshots), from, limit)
}

// GetPool reads a pool.
func (s *Store) GetPool(ctx context.Context, id dot.PoolID) (Record[dot.Pool], error) {
	return get(ctx, s, poolCodec, PoolKey(id), "pool "+id.String())
}

// ListPools reads all pools.
func (s *Store) ListPools(ctx context.Context) ([]Record[dot.Pool], error) {
	return list(ctx, s, poolCodec, Of(KindPools))
}

// GetAlive tells who holds a pool's lease; CodeNotFound when nobody does.
func (s *Store) GetAlive(ctx context.Context, id dot.PoolID) (Record[Instance], error) {
	return get(ctx, s, instanceCodec, AliveKey(id), "the lease of pool "+id.String())
}

// ListAlive tells whose leases are held.
func (s *Store) ListAlive(ctx context.Context) (map[dot.PoolID]bool, error) {
	items, _, err := s.scan(ctx, Of(KindAlive))
	alive := make(map[dot.PoolID]bool, len(items))
	for _, it := range items {
		alive[it.key.Pool()] = true
	}
	return alive, err
}

// ListAssignments reads what a pool's server has to do with.
func (s *Store) ListAssignments(ctx context.Context, id dot.PoolID) ([]Record[Assignment], error) {
	return list(ctx, s, assignmentCodec, AssignmentsOf(id))
}

// ListReplicas reads what is known of a branch's copies.
func (s *Store) ListReplicas(ctx context.Context, id dot.BranchID) ([]Record[Replica], error) {
	return list(ctx, s, replicaCodec, ReplicasOf(id))
}

// GetTombstone reads a deleted branch's tombstone.
func (s *Store) GetTombstone(ctx context.Context, id dot.BranchID) (Record[Tombstone], error) {
	return get(ctx, s, tombstoneCodec, DeletedKey(id), "the tombstone of branch "+id.String())
}

// ListTombstones reads all tombstones.
func (s *Store) ListTombstones(ctx context.Context) ([]Record[Tombstone], error) {
	return list(ctx, s, tombstoneCodec, Of(KindDeleted))
}

// GetClaim reads what is known of a disk that pools lie on.
func (s *Store) GetClaim(ctx context.Context, id dot.ClaimID) (Record[Claim], error) {
	return get(ctx, s, claimCodec, ClaimKey(id), "the claim "+id.String())
}

// GetUser reads a user.
func (s *Store) GetUser(ctx context.Context, name dot.Namespace) (Record[User], error) {
	return get(ctx, s, userCodec, UserKey(name), "user "+name.String())
}
