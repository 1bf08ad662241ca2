//go:build zfs

package host

import (
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

func TestThisMachine(t *testing.T) {
	h := Host{}
	if err := h.LoadModules(t.Context()); err != nil {
		t.Fatal(err)
	}
	module, err := h.ModuleVersion()
	if err != nil {
		t.Fatal(err)
	}
	_, userland, err := h.Userland(t.Context(), zfs.Config{})
	if err != nil || !userland.SameMinor(module) {
		t.Errorf("userland %v, module %v, %v", userland, module, err)
	}
	// A root that is not this process's, though it is the same directory.
	if _, again, err := (Host{Root: "/proc/self/root/"}).Userland(t.Context(), zfs.Config{}); err != nil || again != userland {
		t.Errorf("userland through a chroot: %v, %v", again, err)
	}
	id, err := h.EnsureHostID()
	if err != nil || id == 0 {
		t.Errorf("hostid %d, %v", id, err)
	}
	limit, err := h.CapARC(0)
	if err != nil || limit < arcLeast {
		t.Errorf("ARC limit %d, %v", limit, err)
	}
	if again, err := h.CapARC(1 << 30); err != nil || again != limit {
		t.Errorf("ARC limit then %d, %v; want %d", again, err, limit)
	}
}
