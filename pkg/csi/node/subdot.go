package node

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// openSubdot opens a subdot of the dataset whose root is open. Whoever mounts
// the whole dot can put anything in a subdot's place; what is not a directory of
// this very dataset is refused.
func openSubdot(root *os.File, subdot dot.Subdot) (*os.File, error) {
	name := subdot.String()
	if subdot.IsRoot() {
		name = "."
	}
	fd, err := unix.Openat2(int(root.Fd()), name, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		// NO_SYMLINKS includes NO_MAGICLINKS.
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	})
	switch {
	case err == nil:
		return os.NewFile(uintptr(fd), subdot.String()), nil
	case errors.Is(err, unix.ELOOP):
		return nil, dot.Precondition("subdot %s is a symbolic link and not a directory: somebody who mounts the whole dot must put a directory there", subdot)
	case errors.Is(err, unix.ENOTDIR):
		return nil, dot.Precondition("subdot %s is not a directory: somebody who mounts the whole dot must put one there", subdot)
	case errors.Is(err, unix.EXDEV):
		return nil, dot.Precondition("subdot %s lies on another file system than its dot: something is mounted over it; unmount it", subdot)
	case errors.Is(err, unix.ENOENT):
		return nil, dot.Unavailable("subdot %s is gone since it was prepared", subdot)
	}
	return nil, fmt.Errorf("open subdot %s: %w", subdot, err)
}
