package pool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// kstats is where the kernel module has a directory for each pool that is imported.
const kstats = "/proc/spl/kstat/zfs"

// IsImported tells whether the kernel has a pool of that name imported. It asks no
// process, and so answers also while the pool hangs.
func IsImported(name zfs.PoolName) (bool, error) {
	_, err := os.Stat(filepath.Join(kstats, name.String()))
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("see whether pool %s is imported: %w", name, err)
}
