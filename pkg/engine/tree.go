package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// Both walks go from directory to directory by descriptor and follow no link, so
// that nothing that a pod does meanwhile leads them out of the dataset.

const (
	// namesAtOnce bounds what is read of a directory before it is worked on.
	namesAtOnce = 512
	// maxOpenDirs bounds the descriptors that a walk holds.
	maxOpenDirs = 256
)

// setProjects gives all below dir a project id. What has no descriptor of its
// own (links, devices, pipes, sockets) takes no room worth a quota.
func setProjects(ctx context.Context, dir *os.File, project uint32, depth int) error {
	if depth == maxOpenDirs {
		return dot.Precondition("directories are nested more than %d deep: remove some of them", maxOpenDirs)
	}
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return systemError("reading a directory", err)
	}
	for {
		more, err := nextNames(ctx, dir, func(name string) error { return setProject(ctx, dir, name, project, depth) })
		if err != nil || !more {
			return err
		}
	}
}

// nextNames calls visit with what is next in dir; false when there was nothing.
func nextNames(ctx context.Context, dir *os.File, visit func(name string) error) (more bool, err error) {
	names, err := dir.Readdirnames(namesAtOnce)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, systemError("reading a directory", err)
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if err := visit(name); err != nil {
			return false, err
		}
	}
	return true, nil
}

func setProject(ctx context.Context, dir *os.File, name string, project uint32, depth int) error {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return systemError("looking at "+strconv.Quote(name), err)
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if !isDir && st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	f, err := openBeneath(dir, name, unix.O_RDONLY)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EACCES) {
		return nil // removed, or replaced by what has no descriptor
	}
	if err != nil {
		return systemError("opening "+strconv.Quote(name), err)
	}
	defer f.Close()
	if err := zfs.SetProjectID(f, project, isDir); err != nil {
		return systemError("accounting for "+strconv.Quote(name), err)
	}
	if !isDir {
		return nil
	}
	return setProjects(ctx, f, project, depth+1)
}

// remover removes a tree. Directories that lie too deep to hold all descriptors
// on the way are first brought up to the top.
type remover struct {
	top     *os.File
	renamed int
	passed  func() // after each removal
}

// empty removes what is in dir. It reads the directory again until nothing is
// left, because names come and go while it does.
func (r *remover) empty(ctx context.Context, dir *os.File, depth int) error {
	const rounds = 1 << 20
	for range rounds {
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return systemError("reading a directory", err)
		}
		more, err := nextNames(ctx, dir, func(name string) error { return r.remove(ctx, dir, name, depth) })
		if err != nil || !more {
			return err
		}
	}
	return dot.Errorf(dot.CodeAborted, "somebody goes on writing into the directory")
}

func (r *remover) remove(ctx context.Context, dir *os.File, name string, depth int) error {
	err := unix.Unlinkat(int(dir.Fd()), name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		r.passed()
		return nil
	}
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return systemError("removing "+strconv.Quote(name), err)
	}
	if depth == maxOpenDirs {
		r.renamed++
		up := fmt.Sprintf(".dotmesh-gone-%d-%d", os.Getpid(), r.renamed)
		err := unix.Renameat(int(dir.Fd()), name, int(r.top.Fd()), up)
		if err != nil && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.ENOENT) {
			return systemError("removing "+strconv.Quote(name), err)
		}
		return nil // met again at the top, or here when the name was taken
	}
	sub, err := openDir(dir, name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return refusal(dir, name, err)
	}
	err = r.empty(ctx, sub, depth+1)
	sub.Close()
	if err != nil {
		return err
	}
	err = unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return systemError("removing "+strconv.Quote(name), err)
	}
	r.passed()
	return nil
}
