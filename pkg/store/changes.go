package store

import "github.com/dotmesh-io/dotmesh-csi/pkg/dot"

// Delete removes any one key. Branches have three: see DeleteBranch.
func (t *Txn) Delete(k Key) *Txn { return t.set(k, nil) }

// PutCluster writes the registry's identity.
func (t *Txn) PutCluster(c Cluster) *Txn { return put(t, clusterCodec, ClusterKey(), c) }

// PutRecovery marks the registry as incomplete. Delete(RecoveringKey()) ends that.
func (t *Txn) PutRecovery(r Recovery) *Txn { return put(t, recoveryCodec, RecoveringKey(), r) }

// PutDot writes a dot, but not its name: see PutName.
func (t *Txn) PutDot(d dot.Dot) *Txn { return put(t, dotCodec, DotKey(d.ID), d) }

// DeleteDot removes a dot, but not its name.
func (t *Txn) DeleteDot(id dot.ID) *Txn { return t.Delete(DotKey(id)) }

// ClaimName gives a dot a name that nobody has: a condition and a change.
func (t *Txn) ClaimName(n dot.FullName, id dot.ID) *Txn {
	return t.Absent(NameKey(n)).PutName(n, id)
}

// PutName gives a name to a dot, whoever had it.
func (t *Txn) PutName(n dot.FullName, id dot.ID) *Txn { return put(t, nameCodec, NameKey(n), id) }

// DeleteName frees a name.
func (t *Txn) DeleteName(n dot.FullName) *Txn { return t.Delete(NameKey(n)) }

// PutBranch writes a branch, its index by id, and its epoch. To rename one,
// DeleteBranch its old record first in the same transaction.
func (t *Txn) PutBranch(b dot.Branch) *Txn {
	put(t, branchCodec, BranchKey(b.Dot, b.Name), b)
	put(t, branchRefCodec, BranchIDKey(b.ID), BranchRef{b.ID, b.Dot, b.Name})
	return put(t, epochCodec, EpochKey(b.ID), b.Epoch)
}

// DeleteBranch removes a branch, its index and its epoch.
func (t *Txn) DeleteBranch(b dot.Branch) *Txn {
	return t.Delete(BranchKey(b.Dot, b.Name)).Delete(BranchIDKey(b.ID)).Delete(EpochKey(b.ID))
}

// PutCommit writes a commit.
func (t *Txn) PutCommit(c dot.Commit) *Txn { return put(t, commitCodec, CommitKey(c.Dot, c.ID), c) }

// DeleteCommit removes a commit.
func (t *Txn) DeleteCommit(id dot.ID, commit dot.CommitID) *Txn {
	return t.Delete(CommitKey(id, commit))
}

// PutVolume writes a volume.
func (t *Txn) PutVolume(v dot.Volume) *Txn { return put(t, volumeCodec, VolumeKey(v.ID), v) }

// DeleteVolume removes a volume.
func (t *Txn) DeleteVolume(id dot.VolumeID) *Txn { return t.Delete(VolumeKey(id)) }

// PutIntent writes that a commit has begun.
func (t *Txn) PutIntent(i Intent) *Txn { return put(t, intentCodec, IntentKey(i.Commit.CSIName), i) }

// DeleteIntent removes it.
func (t *Txn) DeleteIntent(csiName string) *Txn { return t.Delete(IntentKey(csiName)) }

// PutSnapshot writes which commit a CSI snapshot made.
func (t *Txn) PutSnapshot(s Snapshot) *Txn { return put(t, snapshotCodec, SnapshotKey(s.CSIName), s) }

// DeleteSnapshot removes it.
func (t *Txn) DeleteSnapshot(csiName string) *Txn { return t.Delete(SnapshotKey(csiName)) }

// PutPool writes a pool.
func (t *Txn) PutPool(p dot.Pool) *Txn { return put(t, poolCodec, PoolKey(p.ID), p) }

// PutTombstone writes a deleted branch's tombstone.
func (t *Txn) PutTombstone(d Tombstone) *Txn { return put(t, tombstoneCodec, DeletedKey(d.Branch), d) }

// DeleteTombstone removes it.
func (t *Txn) DeleteTombstone(id dot.BranchID) *Txn { return t.Delete(DeletedKey(id)) }

// PutReplica writes what is known of a copy.
func (t *Txn) PutReplica(r Replica) *Txn {
	return put(t, replicaCodec, ReplicaKey(r.Branch, r.Pool), r)
}

// PutAssignment tells a server of a branch.
func (t *Txn) PutAssignment(a Assignment) *Txn {
	return put(t, assignmentCodec, AssignmentKey(a.Pool, a.Branch), a)
}

// DeleteAssignment lets a server forget a branch.
func (t *Txn) DeleteAssignment(pool dot.PoolID, branch dot.BranchID) *Txn {
	return t.Delete(AssignmentKey(pool, branch))
}

// PutClaim writes what is known of a disk.
func (t *Txn) PutClaim(c Claim) *Txn { return put(t, claimCodec, ClaimKey(c.ID), c) }

// PutUser writes a user.
func (t *Txn) PutUser(u User) *Txn { return put(t, userCodec, UserKey(u.Name), u) }
