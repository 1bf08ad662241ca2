// Package host prepares the kernel that ZFS runs in: modules, versions, hostid
// and the ARC's cap.
package host

import (
	"context"
	"errors"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// Host is the machine as seen through Root ("" or "/": this root; "/host": a
// container that has the host's file system there).
type Host struct{ Root string }

// LoadModules loads zfs and loop with the host's modprobe when they are missing.
func (h Host) LoadModules(ctx context.Context) error { return errors.New("not implemented") }

// ModuleVersion is /sys/module/zfs/version; zfs.ErrModuleMissing.
func (h Host) ModuleVersion() (zfs.Version, error) {
	return zfs.Version{}, errors.New("not implemented")
}

// Userland picks the userland for the loaded module: the host's where its
// version equals the module's, else this image's where major.minor agree, else
// zfs.ErrVersionMismatch with both versions in the message. base is completed
// with the programs and returned.
func (h Host) Userland(ctx context.Context, base zfs.Config) (zfs.Config, zfs.Version, error) {
	return zfs.Config{}, zfs.Version{}, errors.New("not implemented")
}

// EnsureHostID makes the kernel's hostid non-zero: the host's own if it has one
// (module parameter or /etc/hostid), else derived from its machine-id.
func (h Host) EnsureHostID() (uint32, error) { return 0, errors.New("not implemented") }

// CapARC limits the ARC to limit bytes; 0: the smaller of 10 % of RAM and 4 GiB.
// A limit that the host set is left. It returns the limit in force.
func (h Host) CapARC(limit uint64) (uint64, error) { return 0, errors.New("not implemented") }
