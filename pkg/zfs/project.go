package zfs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ProjectQuota is a limit for one project id; 0 is no limit.
type ProjectQuota struct {
	Bytes, Objects uint64
}

// ProjectUsage is what one project id uses and may use; 0 quota is no limit.
type ProjectUsage struct {
	ID                        uint32
	UsedBytes, QuotaBytes     uint64
	UsedObjects, QuotaObjects uint64
}

// SetProjectQuotas sets bytes and objects of any number of projects of one
// dataset in one process. Project 0 is everything that has no project; ZFS
// takes no quota for it.
func (c *Client) SetProjectQuotas(ctx context.Context, d Dataset, quotas map[uint32]ProjectQuota) error {
	if err := check(nil, d); err != nil {
		return err
	}
	if len(quotas) == 0 {
		return nil
	}
	args := []string{"set"}
	for _, id := range slices.Sorted(maps.Keys(quotas)) {
		if id == 0 {
			return fmt.Errorf("quota of project 0 of %s: %w", d, ErrInvalidValue)
		}
		args = append(args,
			fmt.Sprintf("%s=%s", ProjectQuotaProperty(id), quotaValue(quotas[id].Bytes)),
			fmt.Sprintf("projectobjquota@%d=%s", id, quotaValue(quotas[id].Objects)))
	}
	return c.mutateZFS(ctx, operation{BeforeProjectQuota, AfterProjectQuota}, append(args, d.String())...)
}

// ProjectQuotaProperty is the byte quota of a project, for `-o` of a create.
func ProjectQuotaProperty(id uint32) Property {
	return Property("projectquota@" + strconv.FormatUint(uint64(id), 10))
}

func quotaValue(n uint64) string {
	if n == 0 {
		return "none"
	}
	return strconv.FormatUint(n, 10)
}

// ProjectUsage reads all projects of a dataset, ordered by id. One process.
// What was written in the last seconds may not be counted yet.
func (c *Client) ProjectUsage(ctx context.Context, d Dataset) ([]ProjectUsage, error) {
	if err := check(nil, d); err != nil {
		return nil, err
	}
	out, err := c.zfs(ctx, "projectspace", "-H", "-p", "-o", "name,used,quota,objused,objquota", d.String())
	if err != nil {
		return nil, err
	}
	return parseProjectUsage(string(out))
}

func parseProjectUsage(out string) ([]ProjectUsage, error) {
	var usage []ProjectUsage
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 5 {
			return nil, fmt.Errorf("line %q of zfs projectspace: %w", shorten(line), ErrUnexpectedOutput)
		}
		var numbers [5]uint64
		for i, field := range fields {
			if field == "none" || field == "-" {
				continue
			}
			var err error
			if numbers[i], err = strconv.ParseUint(field, 10, 64); err != nil {
				return nil, fmt.Errorf("line %q of zfs projectspace: %w", shorten(line), ErrUnexpectedOutput)
			}
		}
		if numbers[0] > 1<<32-1 {
			return nil, fmt.Errorf("project id in line %q of zfs projectspace: %w", shorten(line), ErrUnexpectedOutput)
		}
		usage = append(usage, ProjectUsage{
			ID:        uint32(numbers[0]),
			UsedBytes: numbers[1], QuotaBytes: numbers[2],
			UsedObjects: numbers[3], QuotaObjects: numbers[4],
		})
	}
	slices.SortFunc(usage, func(a, b ProjectUsage) int { return int(int64(a.ID) - int64(b.ID)) })
	return usage, nil
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
