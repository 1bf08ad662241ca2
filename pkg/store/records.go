package store

import (
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// Record is a value and the revision at which it was last written, to be
// compared by Txn.Unchanged.
type Record[T any] struct {
	Value    T
	Revision int64
}

// The records of this file and of pkg/dot may gain members in later versions, and
// never change the meaning of those that they have: a server that does not know a
// member carries it along in Unknown.

// Cluster identifies the registry.
type Cluster struct {
	// ID is a UUID, the same as `io.dotmesh:cluster` on the roots of its pools.
	ID string
	// Incarnation is raised when the registry is created, recovered or restored.
	Incarnation uint64

	Unknown dot.Unknown `json:"-"`
}

// Recovery marks a registry that is being filled from a pool. What is in it of that
// pool is incomplete until the mark is gone.
type Recovery struct {
	// Cluster is the id that the registry is to have, the pool's.
	Cluster string
	// Pool is where it is read from; only that pool's server can go on.
	Pool  dot.PoolID
	Node  string
	Began time.Time
	// Incarnation is the one that the registry is to have, decided once; 0 in a mark
	// of a version that did not tell.
	Incarnation uint64

	Unknown dot.Unknown `json:"-"`
}

// BranchRef is where a branch is found. It is written whole with the branch, so
// it holds nothing of its own.
type BranchRef struct {
	Branch dot.BranchID
	Dot    dot.ID
	Name   dot.BranchName
}

// Intent is a commit that has begun, CreateSnapshot's or one of dm: what is written
// before the ZFS snapshot is made, so that a retry makes the same one.
// Commit.CSIName is its key, also where it is no CSI name; GUID is not known yet.
type Intent struct {
	Epoch  dot.Epoch
	Commit dot.Commit

	Unknown dot.Unknown `json:"-"`
}

// Snapshot is what CreateSnapshot made under a CSI name.
type Snapshot struct {
	CSIName string
	Dot     dot.ID
	Commit  dot.CommitID
	// Volume is the source volume; a retry with another one is refused.
	Volume dot.VolumeID

	Unknown dot.Unknown `json:"-"`
}

// Tombstone is leave to destroy a branch's datasets: nothing else is.
type Tombstone struct {
	Branch dot.BranchID
	Dot    dot.ID
	Epoch  dot.Epoch
	// Pools have not confirmed yet that the branch is gone from them.
	Pools   []dot.PoolID
	Deleted time.Time

	Unknown dot.Unknown `json:"-"`
}

// Replica is what is known of a pool's copy of a branch.
type Replica struct {
	Branch dot.BranchID
	Pool   dot.PoolID
	// LastCommit is the newest commit that the copy has, LastSync its newest
	// hidden sync point ("" for none).
	LastCommit  dot.CommitID
	LastSync    string
	BytesBehind int64

	Unknown dot.Unknown `json:"-"`
}

// Role says what a server has to do with a branch.
type Role string

// The roles of an Assignment.
const (
	RoleMaster  Role = "master"
	RoleReplica Role = "replica"
)

// Assignment tells a pool's server of a branch that it has to do with.
type Assignment struct {
	Pool   dot.PoolID
	Branch dot.BranchID
	Dot    dot.ID
	Role   Role

	Unknown dot.Unknown `json:"-"`
}

// Claim is the disk that a pool lies on, where that can move between nodes, and which
// of its assignments to a node may use it.
type Claim struct {
	ID dot.ClaimID
	// Generation is the highest assignment that a server was started for, and Node
	// where. A server of a lower one never has the pool again.
	Generation uint64
	Node       string
	// Imported: the server of that generation has had the pool. Released: it has
	// exported it, and never has it again either.
	Imported bool
	Released bool
	// Pool is the pool on the disk, zero until it was had for the first time.
	Pool dot.PoolID

	Unknown dot.Unknown `json:"-"`
}

// User may call the API. Secrets are kept hashed only; the form of the hashes is
// the server's.
type User struct {
	// Name is also the user's namespace of dots.
	Name         dot.Namespace
	Role         string
	APIKeyHash   string
	PasswordHash string
	Created      time.Time

	Unknown dot.Unknown `json:"-"`
}

// Instance names a running server; it is the value of the pool's alive key.
type Instance struct {
	// Name is the same for every run of the same server (one pool, one server):
	// a run takes over its own old lease.
	Name string
	// BootID is the kernel's (/proc/sys/kernel/random/boot_id). With another
	// boot id nothing is taken over: the other machine may still be running.
	BootID string
}
