package zfs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

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

// CommandError is the failure of one process, or of one step of a channel
// program.
type CommandError struct {
	Args     []string
	ExitCode int    // -1 if it was killed by a signal or never started
	Stderr   string // at most 64 KiB
	// Kind is one of this package's errors, or nil for an unknown failure.
	Kind error
	// Dependents are what ZFS listed: full names of clones, children and
	// snapshots, or the bare names of snapshots that collide in a promote.
	Dependents []string
	// Cause is why the process did not run or was killed: the context's error,
	// an exec error, or nil.
	Cause error
}

// Error begins with what ZFS said; arguments are cut, because values of
// properties can be long.
func (e *CommandError) Error() string {
	var b strings.Builder
	for i, arg := range e.Args {
		if i == 2 && len(e.Args) > 4 {
			b.WriteString(" …")
		}
		if i >= 2 && i < len(e.Args)-2 {
			continue
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		if len(arg) > 120 {
			arg = arg[:120] + "…"
		}
		b.WriteString(arg)
	}
	b.WriteString(": ")
	message := strings.Join(strings.Fields(e.Stderr), " ")
	switch {
	case e.Cause != nil && message != "":
		fmt.Fprintf(&b, "%v: %s", e.Cause, message)
	case e.Cause != nil:
		b.WriteString(e.Cause.Error())
	case message != "":
		b.WriteString(message)
	case e.Kind != nil:
		b.WriteString(e.Kind.Error())
	default:
		fmt.Fprintf(&b, "exit code %d", e.ExitCode)
	}
	return b.String()
}

// Unwrap gives errors.Is the kind and the cause.
func (e *CommandError) Unwrap() []error {
	var errs []error
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	return errs
}

// kinds maps what zfs(8) and zpool(8) print to kinds. The first that matches
// counts, so what says more comes first. Sources: libzfs_util.c
// (libzfs_error_description), libzfs_sendrecv.c, zfs_main.c, zpool_main.c of
// OpenZFS 2.1 to 2.3, and the captured output in testdata/stderr.
var kinds = []struct {
	text string
	kind error
}{
	{"modules are not loaded", ErrModuleMissing},
	{"/dev/zfs and /proc/self/mounts are required", ErrModuleMissing},
	{"failed to initialize the libzfs library", ErrModuleMissing},
	{"pool I/O is currently suspended", ErrSuspended},
	{"I/O is currently suspended", ErrSuspended},
	{"must be superuser", ErrPermission},
	{"ermission denied", ErrPermission},
	{"Operation not permitted", ErrPermission},

	{"checksum mismatch or incomplete stream", ErrStreamIncomplete},
	{"incomplete stream", ErrStreamIncomplete},
	{"failed to read from stream", ErrStreamIncomplete},
	{"does not match incremental source", ErrStreamMismatch},
	{"has been modified", ErrStreamMismatch},
	{"most recent snapshot of", ErrStreamMismatch},
	{"must specify -F to overwrite it", ErrStreamMismatch},
	{"destination has snapshots", ErrStreamMismatch},
	{"is not an earlier snapshot", ErrStreamMismatch},
	{"not an ancestor", ErrStreamMismatch},
	{"not an earlier snapshot from the same fs", ErrStreamMismatch},
	{"incremental source", ErrStreamMismatch},
	{"local origin for clone", ErrStreamMismatch},
	{"contains partially-complete state", ErrBusy},
	{"kernel modules must be upgraded to receive", ErrUnsupported},
	{"invalid stream", ErrStreamInvalid},
	{"invalid backup stream", ErrStreamInvalid},
	{"stream has unsupported feature", ErrUnsupported},
	{"stream cannot be received", ErrStreamInvalid},
	{"checksum mismatch", ErrStreamInvalid},
	{"does not have any resumable receive state", ErrNoResumeToken},
	{"resume token is corrupt", ErrNoResumeToken},
	{"incompatible pool state", ErrUnsupported},
	{"used in the initial send no longer exists", ErrNotFound},

	{"has dependent clones", ErrHasClones},
	{"has children", ErrHasChildren},
	{"it's being held", ErrBusy},
	{"not a cloned filesystem", ErrNotClone},
	{"name collision", ErrExists},
	{"conflicting snapshot", ErrExists},

	{"previously in use from another system", ErrPoolForeign},
	{"pool is imported on host", ErrPoolForeign},
	{"currently imported by another system", ErrPoolForeign},
	{"currently imported on another system", ErrPoolForeign},
	{"pool was last accessed by another system", ErrPoolForeign},
	{"no pools available to import", ErrNoSuchPool},
	{"no such pool available", ErrNoSuchPool},
	{"no such pool", ErrNoSuchPool},
	{"is part of active pool", ErrBusy},
	{"is part of exported pool", ErrExists},
	{"is part of potentially active pool", ErrExists},
	{"contains a filesystem", ErrExists},
	{"is in use and contains", ErrBusy},
	{"one or more devices is currently unavailable", ErrPoolDamaged},
	{"I/O error", ErrPoolDamaged},
	{"integrity check failed", ErrPoolDamaged},
	{" corrupted", ErrPoolDamaged},
	{"is corrupt", ErrPoolDamaged},

	{"is read-only", ErrReadOnly},
	{"is read only", ErrReadOnly},
	{"Read-only file system", ErrReadOnly},
	{"quota exceeded", ErrQuota},
	{"out of space", ErrNoSpace},
	{"No space left on device", ErrNoSpace},
	{"size is greater than available space", ErrNoSpace},
	{"is busy", ErrBusy},
	{"resource busy", ErrBusy},
	{"currently in use", ErrBusy},
	{"already exists", ErrExists},
	{"already in use", ErrExists},
	{"bookmark exists", ErrExists},
	{"File exists", ErrExists},
	{"snapshot exists", ErrExists},
	{"does not exist", ErrNotFound},
	{"could not find any snapshots", ErrNotFound},
	{"no such tag", ErrNotFound},
	{"(no such dataset", ErrNotFound},
	{"no such device in pool", ErrNotFound},
	{"No such file or directory", ErrNotFound},
	{"not found", ErrNotFound},
	{"Channel program timed out", ErrTooLarge},
	{"Memory limit exhausted", ErrTooLarge},
	{"invalid character", ErrInvalidName},
	{"name is too long", ErrInvalidName},
	{"empty component", ErrInvalidName},
	{"is reserved", ErrInvalidName},
	{"invalid property", ErrInvalidValue},
	{"must be one of", ErrInvalidValue},
	{"bad property", ErrInvalidValue},
	{"bad numeric value", ErrInvalidValue},
	{"property value", ErrInvalidValue},
	{"'' is readonly", ErrInvalidValue},
	{"less than the minimum size", ErrInvalidValue},
	{"size is less than current used", ErrQuota},
	{"unsupported version", ErrUnsupported},
	{"unsupported feature", ErrUnsupported},
	{"not supported", ErrUnsupported},
	{"must be upgraded", ErrUnsupported},
	{"invalid option", ErrUnsupported},
	{"unrecognized command", ErrUnsupported},
}

// quoted are the names in a message: they must not be taken for its words.
var quoted = regexp.MustCompile(`'[^'\n]*'`)

// conflicting is how promote names a snapshot that both sides have.
var conflicting = regexp.MustCompile(`conflicting snapshot '[^'\s]+'`)

// classify reads standard error. It is a pure function, fuzzed and tested on
// captured output.
func classify(stderr string) (dependents []string, kind error) {
	words := quoted.ReplaceAllString(stderr, "''")
	for _, k := range kinds {
		if strings.Contains(words, k.text) {
			kind = k.kind
			break
		}
	}
	switch {
	case errors.Is(kind, ErrHasClones), errors.Is(kind, ErrHasChildren):
		dependents = listed(stderr, "following datasets:")
	case errors.Is(kind, ErrExists):
		dependents = conflicting.FindAllString(stderr, -1)
		for i, match := range dependents {
			dependents[i] = strings.Trim(strings.TrimPrefix(match, "conflicting snapshot "), "'")
		}
	}
	return dependents, kind
}

// listed are the lines after the one that contains header: one name each.
func listed(stderr, header string) []string {
	var names []string
	found := false
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		switch {
		case strings.Contains(line, header):
			found = true
		case found && line != "" && !strings.ContainsAny(line, " '"):
			names = append(names, line)
		}
	}
	return names
}

// errnoKind maps what ZFS API functions of a channel program return
// (zfs-program(8)), by Linux number.
func errnoKind(errno int) error {
	switch errno {
	case 1, 13: // EPERM, EACCES
		return ErrPermission
	case 2: // ENOENT
		return ErrNotFound
	case 11, 16: // EAGAIN, EBUSY
		return ErrBusy
	case 17: // EEXIST
		return ErrExists
	case 28: // ENOSPC
		return ErrNoSpace
	case 30: // EROFS
		return ErrReadOnly
	case 36: // ENAMETOOLONG
		return ErrInvalidName
	case 7: // E2BIG
		return ErrTooLarge
	case 95: // EOPNOTSUPP
		return ErrUnsupported
	case 122: // EDQUOT
		return ErrQuota
	}
	return nil
}
