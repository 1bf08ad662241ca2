package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// PrepareSpec is a subdot to make ready for mounting.
type PrepareSpec struct {
	Branch dot.BranchID
	Subdot dot.Subdot
	Record dot.SubdotRecord
	// QuotaBytes is the limit of the subdot, the largest of its claims; 0: none.
	QuotaBytes int64
	// Head is the limit of the whole branch.
	Head HeadLimit
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

// subdotMode lets containers of any user write; Kubernetes narrows it with
// fsGroup where a pod asks for it.
const subdotMode = 0o777

// Prepare makes the subdot's directory (0777 root:root), project id and quota
// what they must be. Its cost does not depend on how many dots there are. A
// subdot that is a symbolic link, a mount, a device or a file is refused with
// CodePrecondition and nothing is changed.
func (e *Engine) Prepare(ctx context.Context, spec PrepareSpec) (Mountable, error) {
	if err := checkRecord(spec.Subdot, spec.Record); err != nil {
		return Mountable{}, err
	}
	branch, err := e.identified(ctx, spec.Branch)
	if err != nil {
		return Mountable{}, err
	}
	m := Mountable{Dataset: branch.dataset, GUID: branch.guid, ReadOnly: spec.ReadOnly || branch.readOnly}
	if !spec.Subdot.IsRoot() {
		m.Directory = spec.Subdot.String()
	}
	unlock, err := e.branches.lock(ctx, spec.Branch)
	if err != nil {
		return Mountable{}, err
	}
	err = within(ctx, unlock, func() error {
		h, err := e.openHead(ctx, spec.Branch, branch.dataset)
		if err != nil {
			return err
		}
		defer h.Close()
		if m.ReadOnly {
			return checkSubdot(h, spec.Subdot)
		}
		return e.prepareIn(ctx, h, spec, branch.dot)
	})
	if err != nil {
		return Mountable{}, explain(err, "preparing subdot %s of branch %s", spec.Subdot, spec.Branch)
	}
	return m, nil
}

// identified gives a branch with its GUID, which a branch that this process made
// has not been asked for yet.
func (e *Engine) identified(ctx context.Context, id dot.BranchID) (indexedBranch, error) {
	b, err := e.here(id)
	if err != nil || b.guid != 0 {
		return b, err
	}
	values, err := e.zfs.Get(ctx, b.dataset, zfs.PropGUID)
	if err != nil {
		return b, explain(err, "identifying branch %s", id)
	}
	if b.guid, err = values.Uint(zfs.PropGUID); err != nil {
		return b, explain(err, "identifying branch %s", id)
	}
	e.index.change(func(x *index) {
		if there, ok := x.branches[id]; ok {
			there.guid = b.guid
			x.branches[id] = there
		}
	})
	return b, nil
}

func (e *Engine) prepareIn(ctx context.Context, h head, spec PrepareSpec, of dot.ID) error {
	if spec.Subdot.IsRoot() {
		return e.applyQuota(ctx, spec, int(h.root.Fd()))
	}
	name := spec.Subdot.String()
	dir, err := openDir(h.root, name)
	if errors.Is(err, unix.ENOENT) {
		if err := e.makeSubdot(ctx, h, name, spec.Record, of); err != nil {
			return err
		}
		dir, err = openDir(h.root, name)
	}
	if err != nil {
		return refusal(h.root, name, err)
	}
	defer dir.Close()
	if err := e.adoptSubdot(ctx, h, dir, spec.Record.ProjectID); err != nil {
		return err
	}
	return e.applyQuota(ctx, spec, int(dir.Fd()))
}

// makeSubdot finishes the directory under a name of ours and then renames it, so
// that nobody ever meets it half made and an existing one is never changed. One
// that is made for a claim is marked with it.
func (e *Engine) makeSubdot(ctx context.Context, h head, name string, rec dot.SubdotRecord, of dot.ID) error {
	if h.readOnly {
		return h.refuseReadOnly("the directory does not exist and cannot be made")
	}
	fresh := ".dotmesh-new-" + strconv.FormatUint(uint64(rec.ProjectID), 10)
	root := int(h.root.Fd())
	e.hook.Pass(ctx, BeforeMakeSubdot)
	if err := unix.Mkdirat(root, fresh, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return systemError("making the directory", err)
	}
	e.hook.Pass(ctx, AfterMakeSubdot)
	dir, err := openDir(h.root, fresh)
	if err != nil {
		return refusal(h.root, fresh, err)
	}
	defer dir.Close()
	if err := unix.Fchown(int(dir.Fd()), 0, 0); err != nil {
		return systemError("making the directory root's", err)
	}
	if err := unix.Fchmod(int(dir.Fd()), subdotMode); err != nil {
		return systemError("setting the directory's mode", err)
	}
	if err := zfs.SetProjectID(dir, rec.ProjectID, true); err != nil {
		return systemError("accounting for the directory", err)
	}
	if rec.MadeByClaim {
		if err := markMade(dir, of, rec); err != nil {
			return err
		}
	}
	e.hook.Pass(ctx, BeforePlaceSubdot)
	// ZFS 2.1 has no RENAME_NOREPLACE. What a pod with the whole dot has just put
	// there stays, unless it is an empty directory.
	err = unix.Renameat(root, fresh, root, name)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.ENOTDIR) {
		_ = unix.Unlinkat(root, fresh, unix.AT_REMOVEDIR)
		return nil
	}
	if err != nil {
		return systemError("naming the directory", err)
	}
	e.hook.Pass(ctx, AfterPlaceSubdot)
	return nil
}

// madeMark is the extended attribute of a directory that was made for a claim.
// Only the host's root can set it, and it goes where the data goes: into commits,
// and out of sight with a reset. It names the dot, because in a copy of the dot
// the directory is the user's, and the project, because directories are renamed.
const madeMark = "trusted.dotmesh.made-for-claim"

func madeFor(of dot.ID, rec dot.SubdotRecord) string {
	return of.String() + "/" + strconv.FormatUint(uint64(rec.ProjectID), 10)
}

func markMade(dir *os.File, of dot.ID, rec dot.SubdotRecord) error {
	if err := unix.Fsetxattr(int(dir.Fd()), madeMark, []byte(madeFor(of, rec)), 0); err != nil {
		return systemError("marking the directory as made for a claim", err)
	}
	return nil
}

// isMade tells whether the directory was made for a claim on that subdot.
func isMade(dir *os.File, of dot.ID, rec dot.SubdotRecord) (bool, error) {
	value := make([]byte, 256)
	n, err := unix.Fgetxattr(int(dir.Fd()), madeMark, value)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ERANGE):
		return false, nil
	case err != nil:
		return false, systemError("reading the directory's mark", err)
	}
	return string(value[:n]) == madeFor(of, rec), nil
}

// adoptSubdot accounts for a directory that was there before it was a subdot: it
// and all below it get the project id.
func (e *Engine) adoptSubdot(ctx context.Context, h head, dir *os.File, project uint32) error {
	got, inherit, err := zfs.ProjectID(dir)
	if err != nil {
		return systemError("reading the directory's project", err)
	}
	if got == project && inherit {
		return nil
	}
	if h.readOnly {
		return h.refuseReadOnly("the directory's project id is missing and cannot be set")
	}
	e.hook.Pass(ctx, BeforeAdoptSubdot)
	// The directory itself comes last, because it says that the rest is done; what
	// was made in between did not inherit from it, hence the second round.
	if err := setProjects(ctx, dir, project, 0); err != nil {
		return err
	}
	if err := zfs.SetProjectID(dir, project, true); err != nil {
		return systemError("accounting for the directory", err)
	}
	if err := setProjects(ctx, dir, project, 0); err != nil {
		return err
	}
	e.hook.Pass(ctx, AfterAdoptSubdot)
	klog.FromContext(ctx).Info("adopted directory as subdot", "directory", dir.Name(), "project", project)
	return nil
}

// checkSubdot is for heads that are never written.
func checkSubdot(h head, subdot dot.Subdot) error {
	if subdot.IsRoot() {
		return nil
	}
	dir, err := openDir(h.root, subdot.String())
	if errors.Is(err, unix.ENOENT) {
		return dot.Precondition("the commit has no directory of that name, and a read-only volume cannot get one: name a subdot that it has, or __root__")
	}
	if err != nil {
		return refusal(h.root, subdot.String(), err)
	}
	return dir.Close()
}

// openDir opens a directory below parent without following anything out of it.
func openDir(parent *os.File, name string) (*os.File, error) {
	return openBeneath(parent, name, unix.O_RDONLY|unix.O_DIRECTORY)
}

func openBeneath(parent *os.File, name string, flags int) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS,
	}
	const tries = 16 // EAGAIN: something was renamed meanwhile (openat2(2))
	var fd int
	var err error
	for range tries {
		fd, err = unix.Openat2(int(parent.Fd()), name, &how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// refusal names what lies in a directory's place.
func refusal(parent *os.File, name string, err error) error {
	var st unix.Stat_t
	if unix.Fstatat(int(parent.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return dot.Precondition("%q is a %s, not a directory: a pod that mounts the whole dot (%s) can remove it; nothing was changed", name, kindOf(st.Mode), dot.RootSubdot)
	}
	if errors.Is(err, unix.EXDEV) {
		return dot.Precondition("something is mounted on %q; nothing was changed", name)
	}
	return systemError(fmt.Sprintf("opening %q", name), err)
}

func kindOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return "symbolic link"
	case unix.S_IFBLK, unix.S_IFCHR:
		return "device"
	case unix.S_IFIFO:
		return "named pipe"
	case unix.S_IFSOCK:
		return "socket"
	}
	return "file"
}

// systemError gives what the kernel said a code.
func systemError(what string, err error) error {
	code := dot.CodeInternal
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		code = dot.CodeExhausted
	case errors.Is(err, unix.EROFS):
		code = dot.CodePrecondition
	case errors.Is(err, unix.EBUSY):
		code = dot.CodeAborted
	}
	return dot.Errorf(code, "%s: %w", what, err)
}
