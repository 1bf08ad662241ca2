package engine

import (
	"context"
	"errors"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

var errNotImplemented = errors.New("not implemented")

// Config says which part of which pool an engine keeps.
type Config struct {
	ZFS *zfs.Client
	// Root is the server's root dataset: a whole pool or a dataset in one.
	Root zfs.Dataset
	// ClusterID is the cluster that the root must belong to. It is written on a
	// root that has none.
	ClusterID string
	// RunDir is a directory that a reboot empties; default /run/dotmesh. The
	// engine keeps what it must remember for as long as the pool stays imported
	// in <RunDir>/<pool id>.
	RunDir string
	// Hook is called at the points that Points lists.
	Hook crash.Hook
}

// Engine keeps the dots of one pool. It is safe for use by several goroutines;
// calls for one branch wait for each other where they must.
type Engine struct{}

// Points lists the crash points of this package; those of pkg/zfs are passed too.
func Points() []crash.Point { return nil }

// Open reads the root in one listing and changes nothing. It refuses, with
// CodePrecondition, a root of another cluster and an old system's <pool>/dmfs.
func Open(ctx context.Context, cfg Config) (*Engine, error) { return nil, errNotImplemented }

// PoolID is the GUID of the root dataset.
func (e *Engine) PoolID() dot.PoolID { return dot.PoolID{} }

// Parent is <root>/dotmesh, whose readonly property is the fence.
func (e *Engine) Parent() zfs.Dataset { return zfs.Dataset{} }

// SetUpRoot writes the cluster on the root and makes <root>/dotmesh, with the
// fence on, where they are missing.
func (e *Engine) SetUpRoot(ctx context.Context) error { return errNotImplemented }

// CommitRef names a commit as the registry knows it.
type CommitRef struct {
	// Branch is the branch that the commit was made on, wherever it lies now.
	Branch dot.BranchID
	Commit dot.CommitID
	// GUID, if not 0, must be that of the snapshot found.
	GUID uint64
}

// BranchSpec is a branch to make.
type BranchSpec struct {
	Dot    dot.Dot
	Branch dot.Branch
	// Volumes are the claims on the branch, recorded with it. Their sizes become
	// quotas at once where the branch starts empty.
	Volumes []dot.Volume
	// From is the commit to start at; nil: empty.
	From *CommitRef
}

// CreateBranch makes a branch's dataset in one process. A dataset of the same
// branch and dot is what a retry meets: nil. CodeNotFound when the commit is
// not on this pool, CodeExhausted without room.
func (e *Engine) CreateBranch(ctx context.Context, spec BranchSpec) error { return errNotImplemented }

// Stored is a commit as it lies on this pool.
type Stored struct {
	GUID      uint64
	CreateTXG uint64
}

// Commit takes the snapshot of c.Branch named c.ID with all that c says as its
// properties. Commits asked for while others run go together in one process.
// One that exists already is what a retry meets: its GUID. When ctx ends first
// the commit may still be made.
func (e *Engine) Commit(ctx context.Context, c dot.Commit) (Stored, error) {
	return Stored{}, errNotImplemented
}

// CheckCommit refuses, with CodeInvalid, what does not fit the properties of a
// snapshot. Commit does it too.
func CheckCommit(c dot.Commit) error { return errNotImplemented }

// FindCommit tells where a commit is; CodeNotFound. It starts no process.
func (e *Engine) FindCommit(ref CommitRef) (Stored, error) { return Stored{}, errNotImplemented }

// HasBranch tells whether the branch's dataset is here. It starts no process.
func (e *Engine) HasBranch(id dot.BranchID) bool { return false }

// ErrInUse is in the chain when branches that were made from a commit still
// need it.
var ErrInUse = errors.New("branches made from the commit need it")

// DestroyCommit destroys a commit's snapshot; nil when it is gone. When clones
// need it the snapshot is marked as deleted, so that Inventory tells, and
// ErrInUse returned: the caller may forget the commit, because the snapshot goes
// with the last of its clones.
func (e *Engine) DestroyCommit(ctx context.Context, ref CommitRef) error { return errNotImplemented }

// DestroyBranch destroys a branch's dataset and the snapshots in it; nil when it
// is gone. Branches made from its commits keep what they need: the one with the
// newest origin is promoted first and takes over those snapshots (and only then
// are they kept). While somebody mounts the dataset: CodeAborted, naming who;
// try later. The caller has made sure that nobody wants its commits.
func (e *Engine) DestroyBranch(ctx context.Context, id dot.BranchID) error { return errNotImplemented }

// Sweep destroys the snapshots that DestroyCommit left because of clones and
// that no clone needs any more. For after a restart; otherwise the engine does
// it when it destroys a clone.
func (e *Engine) Sweep(ctx context.Context) error { return errNotImplemented }

// SetVolume records a claim, and its subdot, on the branch's dataset.
func (e *Engine) SetVolume(ctx context.Context, v dot.Volume, branch dot.BranchID, rec dot.SubdotRecord) error {
	return errNotImplemented
}

// RemoveVolume forgets a claim. It changes no quota and no directory.
func (e *Engine) RemoveVolume(ctx context.Context, branch dot.BranchID, v dot.VolumeID) error {
	return errNotImplemented
}

// SetDot rewrites what the branch's dataset says of its dot: name, owner,
// shares, subdots, released.
func (e *Engine) SetDot(ctx context.Context, branch dot.BranchID, d dot.Dot) error {
	return errNotImplemented
}

// SetBranch rewrites what the dataset says of the branch: name, epoch, master,
// hidden.
func (e *Engine) SetBranch(ctx context.Context, b dot.Branch) error { return errNotImplemented }

// PrepareSpec is a subdot to make ready for mounting.
type PrepareSpec struct {
	Branch dot.BranchID
	Subdot dot.Subdot
	Record dot.SubdotRecord
	// QuotaBytes is the limit of the subdot, the largest of its claims; 0: none.
	QuotaBytes int64
	// ReadOnly: the branch is never written; the subdot must exist.
	ReadOnly bool
}

// Mountable is what a node mounts.
type Mountable struct {
	Dataset zfs.Dataset
	GUID    uint64
	// Directory is the subdot's path below the dataset's root, "" for the root.
	Directory string
	ReadOnly  bool
}

// Prepare makes the subdot's directory (0777 root:root), project id and quota
// what they must be. Its cost does not depend on how many dots there are. A
// subdot that is a symbolic link, a mount, a device or a file is refused with
// CodePrecondition and nothing is changed.
func (e *Engine) Prepare(ctx context.Context, spec PrepareSpec) (Mountable, error) {
	return Mountable{}, errNotImplemented
}

// SetQuota applies a limit to a subdot whose directory may not exist yet; 0
// lifts it.
func (e *Engine) SetQuota(ctx context.Context, branch dot.BranchID, subdot dot.Subdot, rec dot.SubdotRecord, bytes int64) error {
	return errNotImplemented
}

// RemoveSubdot removes a subdot's directory with what is in it, and its quota
// and record; nil when it is gone. It never leaves the dataset and refuses,
// before it removes anything, a directory below which something is mounted.
func (e *Engine) RemoveSubdot(ctx context.Context, branch dot.BranchID, subdot dot.Subdot, rec dot.SubdotRecord) error {
	return errNotImplemented
}

// CheckReset refuses, with CodePrecondition and the holder's name, while the
// branch's head is mounted anywhere on this machine.
func (e *Engine) CheckReset(ctx context.Context, old dot.BranchID) error { return errNotImplemented }

// Reset makes the branch that replaces the head of old: CreateBranch from one of
// its commits, after CheckReset. The caller then swaps the two in the registry
// and calls Retire. Nothing is rolled back.
func (e *Engine) Reset(ctx context.Context, old dot.BranchID, spec BranchSpec) error {
	return errNotImplemented
}

// Retire puts a branch out of sight: its head becomes read-only and its dataset
// says that it is hidden.
func (e *Engine) Retire(ctx context.Context, b dot.Branch) error { return errNotImplemented }

// AdoptReadOnly makes a dataset that nobody knows read-only, and nothing else.
func (e *Engine) AdoptReadOnly(ctx context.Context, d zfs.Dataset) error { return errNotImplemented }

// Fence stops (true) or allows (false) writes to all heads that inherit
// readonly from Parent.
func (e *Engine) Fence(ctx context.Context, on bool) error { return errNotImplemented }

// InheritFence makes a head inherit the fence (another pool could take it over),
// or not (there is no other copy).
func (e *Engine) InheritFence(ctx context.Context, branch dot.BranchID, inherit bool) error {
	return errNotImplemented
}

// Inventory is what the pool says of itself.
type Inventory struct {
	Pool    dot.PoolID
	Cluster string
	// Fenced: Parent is readonly.
	Fenced   bool
	Branches []FoundBranch // by createtxg
	Commits  []FoundCommit // by createtxg; sync points are not listed
	// Receiving are datasets of which no snapshot has arrived whole.
	Receiving []Receiving
	// Unknown are datasets and snapshots below Parent that say nothing of ours,
	// or something that cannot be read.
	Unknown []Unknown
}

// FoundBranch is a branch with what its dataset says of its dot and claims.
type FoundBranch struct {
	Dot     dot.Dot
	Branch  dot.Branch
	Volumes []dot.Volume
	Dataset zfs.Dataset
	GUID    uint64
	// ReadOnly is the readonly property's value; Inherits: it comes from Parent.
	ReadOnly, Inherits bool
	// OriginGUID is the GUID of the snapshot that the dataset is a clone of, 0
	// for none. After a promote it is not where the branch began.
	OriginGUID uint64
	// ResumeToken of a broken receive into this branch, "" for none.
	ResumeToken string
}

// FoundCommit is a commit with what its snapshot says.
type FoundCommit struct {
	Commit    dot.Commit
	Snapshot  zfs.Snapshot
	CreateTXG uint64
	// Deleted: the commit was destroyed while clones needed its snapshot.
	Deleted bool
	// Clones tells how many datasets need the snapshot.
	Clones int
}

// Receiving is a dataset that a first stream has not filled yet.
type Receiving struct {
	Dataset zfs.Dataset
	Token   string
}

// Unknown is something that is left as it is.
type Unknown struct {
	Name   string // dataset or dataset@snapshot
	GUID   uint64
	Reason string
}

// Inventory lists the pool in one process.
func (e *Engine) Inventory(ctx context.Context) (Inventory, error) {
	return Inventory{}, errNotImplemented
}

// Health is how the pool is.
type Health struct {
	State string // ONLINE, DEGRADED, SUSPENDED …
	// Writes: a txg reached stable storage within the deadline.
	Writes bool
	// Took is how long that took.
	Took time.Duration
	// Problem is a sentence for the admin, "" when all is well.
	Problem                          string
	SizeBytes, FreeBytes             int64
	CapacityPercent, FragmentPercent int
}

// Health waits at most deadline (and ctx) for a txg. One call runs at a time;
// others meanwhile get its answer.
func (e *Engine) Health(ctx context.Context, deadline time.Duration) (Health, error) {
	return Health{}, errNotImplemented
}

// Capacity is the room below Parent in bytes.
func (e *Engine) Capacity(ctx context.Context) (total, free int64, err error) {
	return 0, 0, errNotImplemented
}

// BranchUsage is what a branch takes.
type BranchUsage struct {
	UsedBytes       int64 // with its commits
	ReferencedBytes int64 // its head
	WrittenBytes    int64 // since its newest commit
}

// Usage reads the usage of branches: of all, in one process, when none is named.
func (e *Engine) Usage(ctx context.Context, branches ...dot.BranchID) (map[dot.BranchID]BranchUsage, error) {
	return nil, errNotImplemented
}

// Holder is a process in whose mount namespace a dataset is mounted.
type Holder struct {
	PID     int
	Command string
	Path    string // mount point
}

// Holders finds who mounts a branch's dataset, in /proc/*/mountinfo, one of each
// mount namespace.
func (e *Engine) Holders(ctx context.Context, branch dot.BranchID) ([]Holder, error) {
	return nil, errNotImplemented
}
