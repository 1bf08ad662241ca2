package node

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	mount "k8s.io/mount-utils"
)

// open makes a descriptor that names a thing and cannot read it. A symbolic link
// at the end of the path is not followed.
func open(path string) (*os.File, error) {
	return os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
}

// mountedAt gives what is mounted exactly at path, topmost, or nil. It asks the
// kernel for the mount's id rather than comparing paths, so that a symbolic link
// above path does not matter.
func mountedAt(path string) (*mount.MountInfo, error) {
	f, err := open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close()
	parent, err := open(filepath.Dir(path) + "/.")
	if err != nil {
		return nil, fmt.Errorf("open the directory above %s: %w", path, err)
	}
	defer parent.Close()
	id, err := mountID(f)
	if err != nil {
		return nil, err
	}
	above, err := mountID(parent)
	if err != nil || id == above {
		return nil, err
	}
	infos, err := mount.ParseMountInfo("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the mounts: %w", err)
	}
	at := slices.IndexFunc(infos, func(i mount.MountInfo) bool { return i.ID == id })
	if at < 0 {
		return nil, fmt.Errorf("what is mounted at %s is not among the mounts of this process", path)
	}
	return &infos[at], nil
}

// mountID reads the id that mountinfo gives to the mount on which f was opened
// (proc_pid_fdinfo(5)).
func mountID(f *os.File) (int, error) {
	info, err := os.Open(fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd()))
	if err != nil {
		return 0, fmt.Errorf("find the mount of %s: %w", f.Name(), err)
	}
	defer info.Close()
	lines := bufio.NewScanner(info)
	for lines.Scan() {
		if value, found := strings.CutPrefix(lines.Text(), "mnt_id:"); found {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, fmt.Errorf("find the mount of %s: the kernel tells no mnt_id", f.Name())
}

// zfsMagic is f_type of a mounted ZFS file system (ZFS_SUPER_MAGIC).
const zfsMagic = 0x2fc12fc1

// identity tells two directories apart, whatever their paths.
type identity struct {
	dev, inode uint64
}

// identify gives an open thing's identity, and whether it lies on ZFS.
func identify(f *os.File) (identity, bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return identity{}, false, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &sfs); err != nil {
		return identity{}, false, fmt.Errorf("statfs %s: %w", f.Name(), err)
	}
	return identity{dev: st.Dev, inode: st.Ino}, sfs.Type == zfsMagic, nil
}

// isDataset tells whether m is the whole of a dataset. The kernel gives the name
// that the dataset has now, also when it was renamed since.
func isDataset(m *mount.MountInfo, dataset string) bool {
	return m.FsType == "zfs" && m.Source == dataset && m.Root == "/"
}

// readOnly tells whether the mount itself is, whatever its file system is.
func readOnly(m *mount.MountInfo) bool { return slices.Contains(m.MountOptions, "ro") }
