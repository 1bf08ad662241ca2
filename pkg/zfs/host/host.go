// Package host prepares the kernel that ZFS runs in: modules, versions, hostid
// and the ARC's cap.
package host

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// Host is the machine as seen through Root ("" or "/": this root; "/host": a
// container that has the host's file system there). /sys and /proc are always
// this root's: they show the one kernel.
type Host struct {
	Root string
	// Sys and Proc replace /sys and /proc in tests.
	Sys, Proc string
}

func (h Host) sys(path string) string {
	if h.Sys != "" {
		return filepath.Join(h.Sys, path)
	}
	return filepath.Join("/sys", path)
}

func (h Host) proc(path string) string {
	if h.Proc != "" {
		return filepath.Join(h.Proc, path)
	}
	return filepath.Join("/proc", path)
}

func (h Host) path(path string) string { return filepath.Join("/", h.Root, path) }

// foreign reports whether Root is another root than this process's.
func (h Host) foreign() bool { return h.Root != "" && filepath.Clean(h.Root) != "/" }

// ModuleVersion is the loaded kernel module's; zfs.ErrModuleMissing.
func (h Host) ModuleVersion() (zfs.Version, error) {
	text, err := os.ReadFile(h.sys("module/zfs/version"))
	if errors.Is(err, os.ErrNotExist) {
		return zfs.Version{}, fmt.Errorf("%s: %w", h.sys("module/zfs"), zfs.ErrModuleMissing)
	}
	if err != nil {
		return zfs.Version{}, err
	}
	return zfs.ParseVersion(string(text))
}

// Userland picks the userland for the loaded module: the host's where its
// version equals the module's, else this image's where major.minor agree, else
// zfs.ErrVersionMismatch with all versions in the message. base is completed
// with where the programs are and returned.
func (h Host) Userland(ctx context.Context, base zfs.Config) (zfs.Config, zfs.Version, error) {
	module, err := h.ModuleVersion()
	if err != nil {
		return zfs.Config{}, zfs.Version{}, err
	}
	found := []string{}
	if h.foreign() {
		cfg := base
		cfg.Chroot = h.Root
		version, err := userland(ctx, cfg)
		if err == nil && version.Full == module.Full {
			return cfg, version, nil
		}
		found = append(found, describe("the host's userland", version, err))
	}
	base.Chroot = ""
	version, err := userland(ctx, base)
	if err == nil && version.SameMinor(module) {
		return base, version, nil
	}
	found = append(found, describe("the image's userland", version, err))
	return zfs.Config{}, zfs.Version{}, fmt.Errorf(
		"%w: the kernel module is %s, %s: install zfsutils of the module's version on the host, or use the image for ZFS %d.%d",
		zfs.ErrVersionMismatch, module, strings.Join(found, ", "), module.Major, module.Minor)
}

func userland(ctx context.Context, cfg zfs.Config) (zfs.Version, error) {
	client, err := zfs.New(cfg)
	if err != nil {
		return zfs.Version{}, err
	}
	return client.Userland(ctx)
}

func describe(what string, version zfs.Version, err error) string {
	if err != nil {
		return what + " does not run (" + err.Error() + ")"
	}
	return what + " is " + version.String()
}

const hostIDParameter = "module/spl/parameters/spl_hostid"

// EnsureHostID makes the kernel's hostid non-zero: the host's own if it has one
// (module parameter or /etc/hostid), else derived from its machine-id, so that
// it stays the same over reboots. The module must be loaded.
func (h Host) EnsureHostID() (uint32, error) {
	current, err := h.parameter(hostIDParameter)
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("hostid: %w", zfs.ErrModuleMissing)
	}
	if err != nil {
		return 0, err
	}
	if id := uint32(current); id != 0 {
		return id, nil
	}
	id, err := h.wantedHostID()
	if err != nil {
		return 0, err
	}
	if err := h.setParameter(hostIDParameter, uint64(id)); err != nil {
		return 0, fmt.Errorf("setting the kernel's hostid: %w", err)
	}
	return id, nil
}

func (h Host) wantedHostID() (uint32, error) {
	// hostid(1): four bytes in the machine's byte order.
	if raw, err := os.ReadFile(h.path("etc/hostid")); err == nil && len(raw) >= 4 {
		if id := binary.NativeEndian.Uint32(raw); id != 0 {
			return id, nil
		}
	}
	text, err := os.ReadFile(h.path("etc/machine-id"))
	machine := strings.TrimSpace(string(text))
	if err != nil || len(machine) < 32 || strings.Trim(machine, "0") == "" {
		return 0, fmt.Errorf("no hostid: the host has neither /etc/hostid nor a machine-id (run zgenhostid or systemd-machine-id-setup on it): %w", errors.Join(err, zfs.ErrInvalidValue))
	}
	// machine-id(5) asks not to expose the id itself.
	sum := sha256.Sum256([]byte("dotmesh hostid " + machine))
	return max(binary.BigEndian.Uint32(sum[:]), 1), nil
}

const (
	arcParameter = "module/zfs/parameters/zfs_arc_max"
	arcDefault   = 4 << 30
	arcLeast     = 64 << 20 // ZFS ignores less
)

// CapARC limits the ARC to limit bytes; 0: the smaller of 10 % of RAM and 4 GiB.
// A limit that the host set is left. It returns the limit in force.
func (h Host) CapARC(limit uint64) (uint64, error) {
	current, err := h.parameter(arcParameter)
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("ARC limit: %w", zfs.ErrModuleMissing)
	}
	if err != nil {
		return 0, err
	}
	if current != 0 {
		return current, nil
	}
	if limit == 0 {
		total, err := h.memory()
		if err != nil {
			return 0, err
		}
		limit = min(total/10, arcDefault)
	}
	limit = max(limit, arcLeast)
	if err := h.setParameter(arcParameter, limit); err != nil {
		return 0, fmt.Errorf("limiting the ARC: %w", err)
	}
	return limit, nil
}

// memory is the machine's RAM in bytes.
func (h Host) memory() (uint64, error) {
	text, err := os.ReadFile(h.proc("meminfo"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			kib, err := strconv.ParseUint(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no MemTotal", h.proc("meminfo"))
}

func (h Host) parameter(name string) (uint64, error) {
	text, err := os.ReadFile(h.sys(name))
	if err != nil {
		return 0, err
	}
	value, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", h.sys(name), err)
	}
	return value, nil
}

func (h Host) setParameter(name string, value uint64) error {
	return os.WriteFile(h.sys(name), []byte(strconv.FormatUint(value, 10)), 0)
}
