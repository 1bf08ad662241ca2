package embedded

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// lockFile holds a lock for as long as the file is open; it ends with the
// process, however that ends. etcd's own locks wait instead of refusing.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data of etcd: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, dot.Precondition("another process uses the data of etcd beside %s: stop that process, or give this server another directory", path)
		}
		return nil, fmt.Errorf("lock the data of etcd: %w", err)
	}
	return f, nil
}
