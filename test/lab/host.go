package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// errDeps is the advice that goes with everything that `lab deps` installs.
var errDeps = errors.New("run `go run ./test/lab/cmd/lab deps` (as root, on Debian)")

// machineTools are the host's programs that every machine needs.
func machineTools() []string {
	return []string{"qemu-system-x86_64", "virtiofsd", "ip", "ssh", "ssh-keygen", "sshd", "modprobe", "busybox", "mke2fs"}
}

// clusterTools are what the nodes of a cluster use of the host's root file system.
func clusterTools() []string { return []string{"runc", "nft", "conntrack", "mount", "host-local"} }

// checkTools looks for the tools of a machine and more, and for its kernel.
func (e Env) checkTools(more ...string) error {
	if err := missingTools(findTool, append(machineTools(), more...)); err != nil {
		return err
	}
	_, err := kernel()
	return err
}

func missingTools(find func(name string) string, names []string) error {
	var missing []string
	for _, n := range names {
		if find(n) == "" {
			missing = append(missing, n)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("programs missing: %s: %w", strings.Join(missing, ", "), errDeps)
	}
	return nil
}

// findTool looks where root's PATH looks, whatever the caller's PATH says, and
// where Debian puts what is in nobody's PATH: virtiofsd (in /usr/lib/qemu up to
// Debian 12) and the CNI plugins.
func findTool(name string) string {
	for _, dir := range []string{
		"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
		"/usr/lib/qemu", "/usr/libexec", "/usr/lib/cni",
	} {
		path := filepath.Join(dir, name)
		if fi, err := os.Stat(path); err == nil && !fi.IsDir() {
			return path
		}
	}
	return ""
}

// checkRoom refuses to start what would make the host swap, kill or fill its disk.
func (e Env) checkRoom(memMB, diskMB int) error {
	if err := os.MkdirAll(e.Run, 0o755); err != nil {
		return err
	}
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	return errors.Join(checkMemory(string(info), memMB), checkDisk("LAB_RUN", e.Run, diskMB), checkDisk("LAB_CACHE", e.Cache, diskMB))
}

// checkMemory reads what /proc/meminfo says.
func checkMemory(info string, needMB int) error {
	for line := range strings.Lines(info) {
		var kb int
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kb); n == 1 && kb/1024 < needMB {
			return fmt.Errorf("%d MiB of memory needed, %d available: use fewer machines or a smaller LAB_MEM", needMB, kb/1024)
		}
	}
	return nil
}

// checkDisk wants room for what machines write; their disks are sparse.
func checkDisk(variable, dir string, needMB int) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if free := int(st.Bavail * uint64(st.Bsize) >> 20); free < needMB {
		return fmt.Errorf("%d MiB of disk needed in %s, %d free: set %s to a larger file system", needMB, dir, free, variable)
	}
	return nil
}
