package zfs

import "errors"

// The kinds of failure that callers decide on, for errors.Is. The text that
// they are recognised by is ZFS's; a failure of no known kind carries none.
var (
	ErrBusy             = errors.New("in use")
	ErrExists           = errors.New("already exists")
	ErrNotFound         = errors.New("does not exist")
	ErrNoSpace          = errors.New("no space left in the pool")
	ErrQuota            = errors.New("quota exceeded")
	ErrHasClones        = errors.New("has dependent clones")
	ErrHasChildren      = errors.New("has children or snapshots")
	ErrHeld             = errors.New("is held")
	ErrPermission       = errors.New("permission denied")
	ErrReadOnly         = errors.New("pool or dataset is read-only")
	ErrSuspended        = errors.New("pool I/O is suspended")
	ErrNoSuchPool       = errors.New("no such pool")
	ErrPoolForeign      = errors.New("pool was last used by another system")
	ErrPoolDamaged      = errors.New("pool or data is damaged")
	ErrUnsupported      = errors.New("not supported by this version of ZFS")
	ErrInvalidName      = errors.New("invalid name")
	ErrInvalidValue     = errors.New("invalid value")
	ErrNotClone         = errors.New("is not a clone")
	ErrNoResumeToken    = errors.New("no receive to resume or abort")
	ErrStreamMismatch   = errors.New("stream does not fit the destination")
	ErrStreamInvalid    = errors.New("not an acceptable stream")
	ErrStreamIncomplete = errors.New("stream ended early")
	ErrModuleMissing    = errors.New("the ZFS kernel module is not loaded")
	ErrVersionMismatch  = errors.New("ZFS userland and kernel module differ")
	ErrTooLarge         = errors.New("too much for one command")
	ErrUnexpectedOutput = errors.New("unexpected output of ZFS")
	// ErrStuck: the context ended, and the process did not die of SIGKILL
	// within the grace period; it is left behind in the kernel.
	ErrStuck = errors.New("process cannot be killed")
)

var errNotImplemented = errors.New("not implemented")
