package pool

import (
	"context"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/host"
)

// Prepared is what PrepareHost found.
type Prepared struct {
	// ZFS is the configuration of a client that fits the kernel module.
	ZFS              zfs.Config
	Module, Userland zfs.Version
	HostID           uint32
	ARCBytes         uint64
}

// PrepareHost loads the modules, picks a userland that fits, gives the kernel a
// hostid and caps the ARC.
func PrepareHost(ctx context.Context, h host.Host, base zfs.Config) (Prepared, error) {
	var p Prepared
	err := h.LoadModules(ctx)
	if err != nil {
		return p, dot.Errorf(dot.CodePrecondition, "loading the kernel modules zfs and loop: %w", err)
	}
	if p.Module, err = h.ModuleVersion(); err != nil {
		return p, dot.Errorf(dot.CodePrecondition, "reading the version of the ZFS module: %w", err)
	}
	if p.ZFS, p.Userland, err = h.Userland(ctx, base); err != nil {
		return p, dot.Errorf(dot.CodePrecondition, "choosing the ZFS commands: %w", err)
	}
	// A pool that was made or imported with hostid 0 can be imported anywhere.
	if p.HostID, err = h.EnsureHostID(); err != nil {
		return p, dot.Errorf(dot.CodePrecondition, "giving the kernel a hostid: %w", err)
	}
	if p.ARCBytes, err = h.CapARC(0); err != nil {
		return p, dot.Errorf(dot.CodeInternal, "limiting the ARC: %w", err)
	}
	klog.FromContext(ctx).Info("prepared host", "module", p.Module.Full, "userland", p.Userland.Full, "hostid", p.HostID, "arc", p.ARCBytes)
	return p, nil
}
