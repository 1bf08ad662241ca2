package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const modprobeTimeout = time.Minute

// LoadModules loads zfs and loop with the host's modprobe when they are missing,
// and makes their control devices where this container's /dev lacks them.
func (h Host) LoadModules(ctx context.Context) error {
	for _, module := range []struct{ name, device, class string }{
		{"zfs", "/dev/zfs", "class/misc/zfs/dev"},
		{"loop", "/dev/loop-control", "class/misc/loop-control/dev"},
	} {
		if err := h.load(ctx, module.name, module.class); err != nil {
			return err
		}
		if h.Sys != "" {
			continue
		}
		if err := h.node(module.device, module.class); err != nil {
			return err
		}
	}
	return nil
}

func (h Host) load(ctx context.Context, name, class string) error {
	// A module that is built in may have no directory in /sys/module.
	for _, path := range []string{"module/" + name, class} {
		if _, err := os.Stat(h.sys(path)); err == nil {
			return nil
		}
	}
	program, err := h.modprobe()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, modprobeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, name)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if h.foreign() {
		cmd.SysProcAttr.Chroot = h.Root
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("loading the kernel module %s: %w: %s: install it on the host (Debian: zfs-dkms or a kernel with ZFS)",
			name, err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}

func (h Host) modprobe() (string, error) {
	for _, candidate := range []string{"/usr/sbin/modprobe", "/sbin/modprobe", "/usr/bin/modprobe"} {
		if _, err := os.Stat(h.path(candidate)); err == nil {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("no modprobe under %q: load the kernel modules zfs and loop on the host", h.path("/"))
}

// node makes a missing device node with the number that the kernel gave it.
func (h Host) node(device, class string) error {
	if _, err := os.Stat(device); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	numbers, err := os.ReadFile(h.sys(class))
	if err != nil {
		return fmt.Errorf("%s is missing: %w", device, err)
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(string(numbers), "%d:%d", &major, &minor); err != nil {
		return fmt.Errorf("device number %q of %s: %w", numbers, filepath.Base(device), err)
	}
	err = unix.Mknod(device, unix.S_IFCHR|0o600, int(unix.Mkdev(major, minor)))
	if err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("making %s: %w", device, err)
	}
	return nil
}
