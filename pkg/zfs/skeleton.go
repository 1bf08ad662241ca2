package zfs

import (
	"context"
	"io"
	"os"
	"time"

	gozfs "github.com/mistifyio/go-zfs/v4"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
)

// Config says how processes are started. The zero value runs zfs and zpool from
// PATH.
type Config struct {
	// ZFS and Zpool are the programs; default: found in PATH, or under Chroot in
	// the usual system directories.
	ZFS, Zpool string
	// Chroot, if set, is the directory that becomes the programs' root: the
	// host's file system as this container sees it, to use the host's userland.
	Chroot string
	// Timeout bounds every command but Send and Receive, which only their
	// context bounds. Default 2 min.
	Timeout time.Duration
	// MaxProcesses bounds the processes that run at once, streams excepted;
	// 0: no bound. A call waits for its turn as long as its context lives.
	MaxProcesses int
	// Crash is called at the points that Points lists.
	Crash crash.Hook
	// Observe is called after every process, on the caller's goroutine.
	Observe Observer
}

// Observer hears of every process that was started: its arguments (args[0] is
// "zfs" or "zpool"), how long it ran and the error that the call returned.
// It may be called from several goroutines at once.
type Observer func(args []string, d time.Duration, err error)

// Client runs ZFS commands. It is safe for use by several goroutines.
type Client struct{ cfg Config }

// New resolves the programs; it starts nothing.
func New(cfg Config) (*Client, error) { return nil, errNotImplemented }

// CommandError is the failure of one process.
type CommandError struct {
	Args     []string
	ExitCode int    // -1 if it was killed by a signal or never started
	Stderr   string // at most 64 KiB
	// Kind is one of this package's errors, or nil for an unknown failure.
	Kind error
	// Dependents are the full names that ZFS listed: clones, children,
	// snapshots, colliding snapshot names.
	Dependents []string
	// Cause is why the process did not run or was killed: the context's error,
	// an exec error, or nil.
	Cause error
}

func (e *CommandError) Error() string   { return "" }
func (e *CommandError) Unwrap() []error { return nil }

// Points lists every crash point that a call of this package passes.
func Points() []crash.Point { return nil }

// --- filesystems

// CreateFilesystem makes one filesystem, unmounted, with native and user
// properties. One process. ErrExists, ErrNotFound (parent), ErrNoSpace.
func (c *Client) CreateFilesystem(ctx context.Context, d Dataset, props Props) error {
	return errNotImplemented
}

// Clone makes target from a snapshot, unmounted. One process.
func (c *Client) Clone(ctx context.Context, from Snapshot, target Dataset, props Props) error {
	return errNotImplemented
}

// Destroy destroys one filesystem that has no children, snapshots or clones.
// ErrHasChildren, ErrHasClones (with Dependents), ErrBusy, ErrNotFound.
func (c *Client) Destroy(ctx context.Context, d Dataset) error { return errNotImplemented }

// DestroySnapshots destroys snapshots of one filesystem in one process, all or
// none. Those that are gone already are not an error as long as one is left;
// when all are gone: ErrNotFound. ErrHasClones, ErrHeld, ErrBusy.
func (c *Client) DestroySnapshots(ctx context.Context, snaps ...Snapshot) error {
	return errNotImplemented
}

// Rename renames a filesystem within its pool without remounting: it works
// while mounted when its mountpoint is legacy.
func (c *Client) Rename(ctx context.Context, from, to Dataset) error { return errNotImplemented }

// RenameSnapshot renames a snapshot within its filesystem.
func (c *Client) RenameSnapshot(ctx context.Context, from Snapshot, name string) error {
	return errNotImplemented
}

// Promote swaps a clone with its origin. ErrNotClone, ErrExists with the
// colliding snapshot names, ErrBusy.
func (c *Client) Promote(ctx context.Context, clone Dataset) error { return errNotImplemented }

// SetProperties sets all of props on one target in one process.
func (c *Client) SetProperties(ctx context.Context, t Target, props Props) error {
	return errNotImplemented
}

// InheritProperty removes a local value. Removing one that is not set is no error.
func (c *Client) InheritProperty(ctx context.Context, t Target, p Property) error {
	return errNotImplemented
}

// Get reads properties of one target, in one process; with none named, all of
// them. A user property that is not set is missing from the result.
func (c *Client) Get(ctx context.Context, t Target, props ...Property) (Values, error) {
	return nil, errNotImplemented
}

// --- listing

// Kind is the kind of a listed item.
type Kind string

// Kinds as ZFS prints them.
const (
	KindFilesystem Kind = gozfs.DatasetFilesystem
	KindSnapshot   Kind = gozfs.DatasetSnapshot
	KindVolume     Kind = gozfs.DatasetVolume
	KindBookmark   Kind = "bookmark"
)

// Item is one listed dataset, snapshot or bookmark.
type Item struct {
	Kind Kind
	// Dataset is the filesystem, or what the snapshot or bookmark belongs to.
	Dataset Dataset
	// Name is the part after "@" or "#", "" for filesystems and volumes.
	Name      string
	GUID      GUID
	CreateTXG uint64
	// Values holds the properties asked for (see ListOptions), always with
	// type, guid and createtxg.
	Values Values
}

// Target is the item as the typed name that other calls take.
func (i Item) Target() Target { return nil }

// ListOptions choose what List returns.
type ListOptions struct {
	// Kinds; default filesystems, snapshots and bookmarks.
	Kinds []Kind
	// Depth below root: 0 is the root itself with, if their kinds are asked
	// for, its snapshots and bookmarks; -1 (All) is everything below.
	Depth int
	// Properties are read whatever their source, inherited values included;
	// nil: every property whose source is local, received or none (read-only),
	// which includes all user properties that were set on the item itself.
	Properties []Property
}

// All is the Depth without a bound.
const All = -1

// List reads root and what lies below it in one process, ordered by createtxg.
// Items whose names this package's types cannot hold (made by other software)
// are left out; there are none below a dataset that only this package fills.
func (c *Client) List(ctx context.Context, root Dataset, opt ListOptions) ([]Item, error) {
	return nil, errNotImplemented
}

// Usage is the space accounting of one dataset.
func (c *Client) Usage(ctx context.Context, d Dataset) (gozfs.Dataset, error) {
	return gozfs.Dataset{}, errNotImplemented
}

// --- snapshots, bookmarks, holds

// SnapshotSpec is one snapshot to take with the user properties to set on it.
type SnapshotSpec struct {
	Snapshot Snapshot
	Props    Props // user properties only
}

// SnapshotResult says what became of one SnapshotSpec.
type SnapshotResult struct {
	Snapshot Snapshot
	// GUID and CreateTXG are of the snapshot that now has this name, also when
	// Err is ErrExists; 0 if there is none.
	GUID      GUID
	CreateTXG uint64
	// Err: ErrExists, ErrNotFound (the filesystem), ErrNoSpace, ErrQuota … A
	// snapshot never exists without all of its properties.
	Err error
}

// Snapshot takes snapshots of one pool at one moment (one txg) and sets their
// user properties, in one process that returns once it is on stable storage.
// Each item succeeds or fails by itself (SnapshotResult.Err); the error is of
// the whole call, after which any item may or may not have been taken: list, or
// call again and meet ErrExists with the GUID. ErrTooLarge when names and
// values exceed MaxSnapshotBytes together.
func (c *Client) Snapshot(ctx context.Context, specs []SnapshotSpec) ([]SnapshotResult, error) {
	return nil, errNotImplemented
}

// MaxSnapshotBytes bounds the names and values of one Snapshot call; it stays
// below the kernel's limit on a process's arguments.
const MaxSnapshotBytes = 1 << 20

// Bookmark makes a bookmark of a snapshot of the same filesystem.
func (c *Client) Bookmark(ctx context.Context, from Snapshot, to Bookmark) error {
	return errNotImplemented
}

// DestroyBookmark destroys one bookmark.
func (c *Client) DestroyBookmark(ctx context.Context, b Bookmark) error { return errNotImplemented }

// Hold keeps snapshots from being destroyed until Release. ErrExists when held
// under that tag already.
func (c *Client) Hold(ctx context.Context, tag string, snaps ...Snapshot) error {
	return errNotImplemented
}

// Release ends holds. ErrNotFound when there was none.
func (c *Client) Release(ctx context.Context, tag string, snaps ...Snapshot) error {
	return errNotImplemented
}

// --- streams

// SendSpec is one plain filesystem stream.
type SendSpec struct {
	From Origin   // nil: full stream
	To   Snapshot // ignored when ResumeToken is set
	// Raw sends blocks as on disk (needed for encrypted datasets).
	Raw, LargeBlocks, Compressed, Embedded bool
	// ResumeToken is the receiver's receive_resume_token; From and To are in it.
	ResumeToken string
}

// Send writes the stream to w. When it fails, what was written is a prefix of
// it. If w is an *os.File the process writes into it directly.
func (c *Client) Send(ctx context.Context, spec SendSpec, w io.Writer) error {
	return errNotImplemented
}

// EstimateSend is the stream's expected size in bytes (zfs-send -nP).
func (c *Client) EstimateSend(ctx context.Context, spec SendSpec) (uint64, error) {
	return 0, errNotImplemented
}

// ReceiveSpec says where a stream goes. It is never forced (-F) nor mounted.
type ReceiveSpec struct {
	// Target is the snapshot to make; its filesystem must not exist for a full
	// stream, and must hold the from-snapshot unmodified for an increment.
	Target Snapshot
	// Resumable keeps what arrived when the stream breaks (-s).
	Resumable bool
	// Set overrides properties, Exclude drops those of the stream.
	Set     Props
	Exclude []Property
}

// Receive reads one stream from r. ErrStreamMismatch, ErrStreamIncomplete
// (with Resumable there is a token now), ErrExists, ErrBusy, ErrNoSpace.
// After a failure r may have been read further than zfs got; close r if a Read
// of it can block for ever.
func (c *Client) Receive(ctx context.Context, spec ReceiveSpec, r io.Reader) error {
	return errNotImplemented
}

// AbortReceive throws away what a broken resumable receive kept.
// ErrNoResumeToken when there is nothing.
func (c *Client) AbortReceive(ctx context.Context, d Dataset) error { return errNotImplemented }

// ResumeToken is the token to resume a broken receive into d; ErrNoResumeToken.
func (c *Client) ResumeToken(ctx context.Context, d Dataset) (string, error) {
	return "", errNotImplemented
}

// StreamHeader is the first record of a send stream (DRR_BEGIN).
type StreamHeader struct {
	ToGUID, FromGUID GUID // FromGUID is 0 for a full stream
	ToName           string
	CreationTime     time.Time
	Features         uint64
	Flags            uint32
	BigEndian        bool
}

// StreamHeaderSize is how many bytes ParseStreamHeader needs
// (sizeof(dmu_replay_record_t)).
const StreamHeaderSize = 312

// ParseStreamHeader parses the first record and refuses, with ErrStreamInvalid,
// everything but one plain filesystem stream.
func ParseStreamHeader(b []byte) (StreamHeader, error) { return StreamHeader{}, errNotImplemented }

// PeekStreamHeader reads the first record of r and returns a reader that yields
// the whole stream, that record included.
func PeekStreamHeader(r io.Reader) (StreamHeader, io.Reader, error) {
	return StreamHeader{}, nil, errNotImplemented
}

// --- project quota

// ProjectQuota is a limit for one project id; 0 is no limit.
type ProjectQuota struct {
	Bytes, Objects uint64
}

// ProjectUsage is what one project id uses and may use.
type ProjectUsage struct {
	ID                       uint32
	UsedBytes, QuotaBytes    uint64
	UsedObjects, QuotaObject uint64
}

// SetProjectQuotas sets bytes and objects of any number of projects of one
// dataset in one process.
func (c *Client) SetProjectQuotas(ctx context.Context, d Dataset, quotas map[uint32]ProjectQuota) error {
	return errNotImplemented
}

// ProjectUsage reads all projects of a dataset, ordered by id. One process.
func (c *Client) ProjectUsage(ctx context.Context, d Dataset) ([]ProjectUsage, error) {
	return nil, errNotImplemented
}

// ProjectID reads a file's or directory's project id and whether new entries
// below it inherit it. No process; f must not be opened with O_PATH.
func ProjectID(f *os.File) (id uint32, inherit bool, err error) { return 0, false, errNotImplemented }

// SetProjectID sets them. Existing content below a directory keeps its ids.
func SetProjectID(f *os.File, id uint32, inherit bool) error { return errNotImplemented }

// --- fence

// Fence sets (true) or lifts (false) readonly on one dataset and whatever
// inherits it. It is the only thing of this package that the node service uses.
type Fence func(ctx context.Context, d Dataset, on bool) error

// SetReadonly sets readonly locally. Its signature is Fence.
func (c *Client) SetReadonly(ctx context.Context, d Dataset, on bool) error { return errNotImplemented }

// InheritReadonly makes d take readonly from its parent again.
func (c *Client) InheritReadonly(ctx context.Context, d Dataset) error { return errNotImplemented }

// --- pools

// Pool states, as in zpoolconcepts(7), and SUSPENDED.
const (
	HealthOnline    = gozfs.ZpoolOnline
	HealthDegraded  = gozfs.ZpoolDegraded
	HealthFaulted   = gozfs.ZpoolFaulted
	HealthOffline   = gozfs.ZpoolOffline
	HealthUnavail   = gozfs.ZpoolUnavail
	HealthRemoved   = gozfs.ZpoolRemoved
	HealthSuspended = "SUSPENDED"
)

// Pool is one imported pool. Its Name, Health, Size, Allocated, Free,
// Fragmentation (percent) … are those of go-zfs.
type Pool struct {
	gozfs.Zpool
	GUID     GUID
	Capacity uint64 // percent used
}

// PoolSpec describes a pool to create on whole devices or files, unmirrored.
type PoolSpec struct {
	Name    PoolName
	Devices []string // absolute paths
	// Props are pool properties (ashift, multihost …). `compatibility`,
	// `cachefile=none` are set unless named here.
	Props Props
	// RootProps are properties of the root filesystem; mountpoint=none unless
	// named here.
	RootProps Props
}

// LowestCompatibility is the feature set of pools that this package creates.
const LowestCompatibility = "openzfs-2.1-linux"

// CreatePool never forces (-f): a device with another pool's or file system's
// label is refused with ErrBusy or ErrExists.
func (c *Client) CreatePool(ctx context.Context, spec PoolSpec) error { return errNotImplemented }

// ImportSpec says which pool to import from which devices.
type ImportSpec struct {
	// Devices are paths of devices or directories to search; nothing else is.
	Devices []string
	// GUID or Name names the pool; GUID wins.
	GUID GUID
	Name PoolName
	// NewName renames it while importing.
	NewName PoolName
	// Props are pool properties for this import; cachefile=none always.
	Props Props
	// Force imports a pool that another system used last (-f). It destroys a
	// pool that is in use elsewhere: the caller must know that it is not.
	Force bool
}

// Import imports a pool without mounting anything (-N). ErrPoolForeign,
// ErrNoSuchPool, ErrExists, ErrPoolDamaged.
func (c *Client) Import(ctx context.Context, spec ImportSpec) error { return errNotImplemented }

// Importable is a pool that could be imported.
type Importable struct {
	Name   string
	GUID   GUID
	State  string // ONLINE, DEGRADED, UNAVAIL …
	Status string // one line or "", e.g. that another system used it last
	Action string
	// Foreign: the pool was last accessed by another system.
	Foreign bool
	// Destroyed pools are not listed.
}

// ListImportable searches these devices or directories, and nothing else.
func (c *Client) ListImportable(ctx context.Context, devices ...string) ([]Importable, error) {
	return nil, errNotImplemented
}

// Export exports a pool without force. ErrBusy.
func (c *Client) Export(ctx context.Context, p PoolName) error { return errNotImplemented }

// DestroyPool destroys a pool and all in it. For tests and for undoing a
// creation; never called on a pool with data.
func (c *Client) DestroyPool(ctx context.Context, p PoolName) error { return errNotImplemented }

// Pools lists imported pools, in one process.
func (c *Client) Pools(ctx context.Context) ([]Pool, error) { return nil, errNotImplemented }

// Pool reads one. ErrNoSuchPool.
func (c *Client) Pool(ctx context.Context, p PoolName) (Pool, error) {
	return Pool{}, errNotImplemented
}

// PoolStatus is what zpool-status(8) says.
type PoolStatus struct {
	State   string   // HealthOnline …
	Status  string   // "" when all is well
	Errors  string   // "No known data errors" when all is well
	Devices []Device // leaves, in order
}

// Device is one leaf vdev.
type Device struct {
	Path                  string
	State                 string
	Read, Write, Checksum uint64
}

// Status reads a pool's state and its devices' error counts.
func (c *Client) Status(ctx context.Context, p PoolName) (PoolStatus, error) {
	return PoolStatus{}, errNotImplemented
}

// Sync waits until a txg of the pool is on stable storage. On a suspended pool
// it ends with the context: health is that this call returns nil.
func (c *Client) Sync(ctx context.Context, p PoolName) error { return errNotImplemented }

// ExpandDevice makes the pool use a device that has grown.
func (c *Client) ExpandDevice(ctx context.Context, p PoolName, device string) error {
	return errNotImplemented
}

// ClearErrors clears error counts and resumes a suspended pool (zpool clear).
func (c *Client) ClearErrors(ctx context.Context, p PoolName) error { return errNotImplemented }

// SetPoolProperty sets one pool property.
func (c *Client) SetPoolProperty(ctx context.Context, p PoolName, name Property, value string) error {
	return errNotImplemented
}

// --- versions

// Version is of a userland or a kernel module, e.g. "2.1.11-1+deb12u1".
type Version struct {
	Full         string
	Major, Minor int
}

// Userland runs `zfs version` and returns the userland's.
func (c *Client) Userland(ctx context.Context) (Version, error) { return Version{}, errNotImplemented }
