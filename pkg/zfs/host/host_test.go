package host

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// machine is a Host with these files below its root, /sys and /proc.
func machine(t *testing.T, files map[string]string) Host {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return Host{Root: filepath.Join(dir, "root"), Sys: filepath.Join(dir, "sys"), Proc: filepath.Join(dir, "proc")}
}

const (
	machineID = "root/etc/machine-id"
	hostID    = "sys/module/spl/parameters/spl_hostid"
	arcMax    = "sys/module/zfs/parameters/zfs_arc_max"
	someID    = "0123456789abcdef0123456789abcdef\n"
)

func TestModuleVersion(t *testing.T) {
	v, err := machine(t, map[string]string{"sys/module/zfs/version": "2.2.7-1~bpo12+1\n"}).ModuleVersion()
	if err != nil || v != (zfs.Version{Full: "2.2.7-1~bpo12+1", Major: 2, Minor: 2}) {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := machine(t, nil).ModuleVersion(); !errors.Is(err, zfs.ErrModuleMissing) {
		t.Errorf("no module: %v", err)
	}
}

func TestUserland(t *testing.T) {
	script := func(version string) string { return "#!/bin/sh\necho zfs-" + version + "\necho zfs-kmod-x\n" }
	for _, test := range []struct {
		name, module, image string
		want                error
	}{
		{"same", "2.1.11-1", "2.1.11-1", nil},
		{"same minor", "2.1.11-1", "2.1.15-0", nil},
		{"other minor", "2.2.7-1", "2.1.11-1", zfs.ErrVersionMismatch},
	} {
		h := machine(t, map[string]string{"sys/module/zfs/version": test.module, "image/zfs": script(test.image)})
		h.Root = ""
		program := filepath.Join(filepath.Dir(h.Sys), "image/zfs")
		_, v, err := h.Userland(t.Context(), zfs.Config{ZFS: program, Zpool: program})
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
		if err == nil && v.Full != test.image {
			t.Errorf("%s: %v", test.name, v)
		}
		if err != nil && (!strings.Contains(err.Error(), test.module) || !strings.Contains(err.Error(), test.image)) {
			t.Errorf("%s: both versions are missing in %q", test.name, err)
		}
	}
}

func TestEnsureHostID(t *testing.T) {
	raw := string(binary.NativeEndian.AppendUint32(nil, 0xdeadbeef))
	for _, test := range []struct {
		name  string
		files map[string]string
		want  uint32 // 0: anything
	}{
		{"kernel has one", map[string]string{hostID: "4711\n", machineID: someID}, 4711},
		{"file", map[string]string{hostID: "0\n", "root/etc/hostid": raw, machineID: someID}, 0xdeadbeef},
		{"machine-id", map[string]string{hostID: "0\n", machineID: someID}, 0},
	} {
		h := machine(t, test.files)
		id, err := h.EnsureHostID()
		if err != nil || id == 0 || test.want != 0 && id != test.want {
			t.Errorf("%s: %d, %v", test.name, id, err)
		}
		if again, err := h.EnsureHostID(); again != id || err != nil {
			t.Errorf("%s: then %d, %v", test.name, again, err)
		}
	}
	for name, files := range map[string]map[string]string{
		"no machine-id":    {hostID: "0\n"},
		"empty machine-id": {hostID: "0\n", machineID: "\n"},
		"zero machine-id":  {hostID: "0\n", machineID: strings.Repeat("0", 32)},
		"no module":        {machineID: someID},
	} {
		if id, err := machine(t, files).EnsureHostID(); err == nil {
			t.Errorf("%s: %d", name, id)
		}
	}
}

func TestCapARC(t *testing.T) {
	small := "MemTotal:        4000000 kB\nMemFree: 1 kB\n"
	large := "MemTotal:      400000000 kB\n"
	for _, test := range []struct {
		name, memory, current string
		limit, want           uint64
	}{
		{"tenth", small, "0\n", 0, 4000000 << 10 / 10},
		{"four GiB", large, "0\n", 0, 4 << 30},
		{"asked for", small, "0\n", 1 << 30, 1 << 30},
		{"set by the host", small, "123456789\n", 1 << 30, 123456789},
		{"too little", small, "0\n", 1, arcLeast},
	} {
		h := machine(t, map[string]string{"proc/meminfo": test.memory, arcMax: test.current})
		if got, err := h.CapARC(test.limit); err != nil || got != test.want {
			t.Errorf("%s: %d, %v; want %d", test.name, got, err, test.want)
		}
		if got, err := h.parameter("module/zfs/parameters/zfs_arc_max"); err != nil || got != test.want {
			t.Errorf("%s: the kernel has %d, %v", test.name, got, err)
		}
	}
	if _, err := machine(t, nil).CapARC(0); !errors.Is(err, zfs.ErrModuleMissing) {
		t.Errorf("no module: %v", err)
	}
}

func TestLoadModules(t *testing.T) {
	loaded := machine(t, map[string]string{"sys/module/zfs/version": "2.1", "sys/class/misc/loop-control/dev": "10:237"})
	if err := loaded.LoadModules(t.Context()); err != nil {
		t.Errorf("nothing to load: %v", err)
	}
	if err := machine(t, nil).LoadModules(t.Context()); err == nil || !strings.Contains(err.Error(), "modprobe") {
		t.Errorf("no modprobe: %v", err)
	}
}
