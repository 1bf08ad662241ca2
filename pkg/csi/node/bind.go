package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// bind mounts an open directory at target. The kernel follows the descriptor, so
// that no path is looked up that somebody could have changed. mount(8) cannot do
// this: it resolves the path first.
func bind(dir *os.File, target string) error {
	source := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind subdot %s to %s: %w", dir.Name(), target, err)
	}
	return nil
}

// isMounted tells whether the directory of this identity, on ZFS, is at target.
func isMounted(target string, want identity) (bool, error) {
	f, err := open(target)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open %s: %w", target, err)
	}
	defer f.Close()
	got, onZFS, err := identify(f)
	return onZFS && got == want, err
}

// remountReadOnly makes one mount read-only, and not the file system. A remount
// sets all flags of the mount, so that those it has are repeated.
func remountReadOnly(target string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		return fmt.Errorf("statfs %s: %w", target, err)
	}
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY)
	for _, f := range []struct {
		has int64
		set uintptr
	}{
		{unix.ST_NOSUID, unix.MS_NOSUID},
		{unix.ST_NODEV, unix.MS_NODEV},
		{unix.ST_NOEXEC, unix.MS_NOEXEC},
		{unix.ST_NOATIME, unix.MS_NOATIME},
		{unix.ST_NODIRATIME, unix.MS_NODIRATIME},
		{unix.ST_RELATIME, unix.MS_RELATIME},
	} {
		if st.Flags&f.has != 0 {
			flags |= f.set
		}
	}
	if err := unix.Mount("", target, "", flags, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", target, err)
	}
	return nil
}
