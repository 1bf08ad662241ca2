package zfs

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ProjectQuotaProperty is the byte quota of a project, with a value in bytes or "none".
// ZFS takes none for project 0, which is everything that has no project.
func ProjectQuotaProperty(id uint32) Property {
	return Property("projectquota@" + strconv.FormatUint(uint64(id), 10))
}

// fsxattr is struct fsxattr of linux/fs.h, which ioctl_xfs_fsgetxattr(2) describes.
type fsxattr struct {
	flags      uint32
	extsize    uint32
	nextents   uint32
	project    uint32
	cowextsize uint32
	_          [8]byte
}

const (
	ioctlGetXattr = 0x801c581f // FS_IOC_FSGETXATTR
	ioctlSetXattr = 0x401c5820 // FS_IOC_FSSETXATTR

	// ZFS takes and gives the inode flag (its zpl_ioctl_setxattr) where other
	// file systems have FS_XFLAG_PROJINHERIT, and refuses flags that it does not
	// know. The second form is understood should that change.
	flagInherit      = 0x20000000 // FS_PROJINHERIT_FL
	flagInheritXFlag = 0x200      // FS_XFLAG_PROJINHERIT
)

// ProjectID reads a file's or directory's project id and whether new entries
// below it inherit it. No process; f must not be opened with O_PATH.
func ProjectID(f *os.File) (id uint32, inherit bool, err error) {
	var attr fsxattr
	if err := ioctlXattr(f, ioctlGetXattr, &attr); err != nil {
		return 0, false, fmt.Errorf("reading the project id of %s: %w", f.Name(), err)
	}
	return attr.project, attr.flags&(flagInherit|flagInheritXFlag) != 0, nil
}

// SetProjectID sets them, keeping the file's other attributes. Existing content
// below a directory keeps its ids. inherit is for directories only. It writes
// nothing when both are as asked for.
func SetProjectID(f *os.File, id uint32, inherit bool) error {
	var attr fsxattr
	if err := ioctlXattr(f, ioctlGetXattr, &attr); err != nil {
		return fmt.Errorf("reading the project id of %s: %w", f.Name(), err)
	}
	if attr.project == id && inherit == (attr.flags&(flagInherit|flagInheritXFlag) != 0) {
		return nil
	}
	attr.project = id
	attr.flags &^= flagInherit | flagInheritXFlag
	if inherit {
		attr.flags |= flagInherit
	}
	err := ioctlXattr(f, ioctlSetXattr, &attr)
	if inherit && errors.Is(err, syscall.EOPNOTSUPP) {
		attr.flags = attr.flags&^flagInherit | flagInheritXFlag
		err = ioctlXattr(f, ioctlSetXattr, &attr)
	}
	if err != nil {
		return fmt.Errorf("setting project id %d on %s: %w", id, f.Name(), err)
	}
	return nil
}

// ioctlXattr leaves f in the mode it is in: a blocking os.File stays blocking
// and a closed one is never reached.
func ioctlXattr(f *os.File, request uintptr, attr *fsxattr) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	err = conn.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(attr)))
	})
	if err == nil && errno != 0 {
		err = errno
	}
	return err
}
