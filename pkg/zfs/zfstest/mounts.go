package zfstest

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// unmount takes away whatever mounts the pool's filesystems, newest first.
func unmount(t testing.TB, name zfs.PoolName) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Error(err)
		return
	}
	lines := strings.Split(strings.TrimSpace(string(table)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i])
		if len(fields) < 3 || fields[2] != "zfs" {
			continue
		}
		if d, err := zfs.ParseDataset(fields[0]); err == nil && d.Pool() == name {
			if err := unix.Unmount(fields[1], 0); err != nil {
				t.Logf("unmounting %s: %v", fields[1], err)
				_ = unix.Unmount(fields[1], unix.MNT_DETACH)
			}
		}
	}
}
