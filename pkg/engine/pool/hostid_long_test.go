//go:build zfs && long

package pool

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/loop"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/zfstest"
)

const hostIDParameter = "/sys/module/spl/parameters/spl_hostid"

// becomeHost gives the kernel another hostid until the test ends.
func becomeHost(t *testing.T, id uint32) {
	t.Helper()
	before, err := os.ReadFile(hostIDParameter)
	if err != nil {
		t.Fatal(err)
	}
	set := func(text string) {
		if err := os.WriteFile(hostIDParameter, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set(fmt.Sprint(id))
	t.Cleanup(func() { set(strings.TrimSpace(string(before))) })
}

// lost is the file of a pool that was in use on a machine that lost its power: a
// copy of it as it was then, in a place of its own.
func lost(t *testing.T, cfg Config) Config {
	t.Helper()
	made := ensure(t, cfg)
	data, err := made.Root.Child("data")
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.ZFS.CreateFilesystem(t.Context(), data, zfs.Props{zfs.PropMountpoint: "legacy"}); err != nil {
		t.Fatal(err)
	}
	return copyInUse(t, cfg)
}

// copyInUse copies the file of a pool that is imported, which it then exports.
func copyInUse(t *testing.T, cfg Config) Config {
	t.Helper()
	if err := cfg.ZFS.Sync(t.Context(), cfg.Name); err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	copied := cfg
	copied.Location = filepath.Join(zfstest.Dir(t), "pools")
	if err := os.MkdirAll(copied.Location, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "cp", "--sparse=always", cfg.path(), copied.path()).CombinedOutput(); err != nil {
		t.Fatalf("copying the pool file: %v, %s", err, out)
	}
	if err := Export(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if device, err := findLoop(copied); err == nil {
			if err := device.Detach(context.Background()); err != nil {
				t.Errorf("the copy's loop device is left behind: %v", err)
			}
		}
	})
	zfstest.CleanUp(t, copied.Name)
	return copied
}

// labels are the places of a pool file that an import writes, ZFS's two at each end,
// and when the file was last written.
func labels(t *testing.T, path string) string {
	t.Helper()
	const size = 512 << 10
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]byte, 2*size)
	_, err1 := f.ReadAt(ends[:size], 0)
	_, err2 := f.ReadAt(ends[size:], info.Size()-size)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x of %d bytes, %s", sha256.Sum256(ends), info.Size(), info.ModTime())
}

// TestPoolOfAnotherMachine: a pool that another machine has not exported is refused,
// and not touched, until somebody says that no other machine has it; the machine
// that used it takes it back at once.
func TestPoolOfAnotherMachine(t *testing.T) {
	const here, there = 0x1234abcd, 0x0badcafe
	cfg := onDisk(t, nil)
	becomeHost(t, there)
	copied := lost(t, cfg)

	becomeHost(t, here)
	before := labels(t, copied.path())
	for range 2 {
		_, err := Ensure(t.Context(), copied)
		if err == nil || dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), "another machine") || !strings.Contains(err.Error(), "zpool import -f") {
			t.Fatalf("another machine's pool: got %v, want a refusal that says what to do", err)
		}
	}
	if after := labels(t, copied.path()); after != before {
		t.Errorf("the refusal has changed the pool file: got %s, want %s", after, before)
	}
	if _, err := findLoop(copied); !errors.Is(err, loop.ErrNotFound) {
		t.Errorf("the refusal left a loop device: %v", err)
	}

	becomeHost(t, there)
	if back := ensure(t, copied); !back.Imported || back.Created {
		t.Errorf("on the machine that used it: got %+v", back)
	}
	if err := Export(t.Context(), copied); err != nil {
		t.Fatal(err)
	}

	becomeHost(t, here)
	if moved := ensure(t, copied); !moved.Imported || moved.Created {
		t.Errorf("exported there: got %+v", moved)
	}
}

// TestPoolThatIsTakenOver does what the refusal tells to do.
func TestPoolThatIsTakenOver(t *testing.T) {
	const here, there = 0x1234abcd, 0x0badcafe
	cfg := onDisk(t, nil)
	becomeHost(t, there)
	copied := lost(t, cfg)
	becomeHost(t, here)
	refused(t, "another machine's pool", copied, dot.CodePrecondition)

	file, err := os.OpenFile(copied.path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	device, err := loop.Attach(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"import", "-f", "-N", "-o", "cachefile=none", "-d", device.Path, copied.Name.String()}
	if out, err := exec.CommandContext(t.Context(), "zpool", args...).CombinedOutput(); err != nil {
		t.Fatalf("zpool %v: %v, %s", args, err, out)
	}
	if taken := ensure(t, copied); taken.Imported || taken.Created || taken.Device != device.Path {
		t.Errorf("imported by hand: got %+v", taken)
	}
	if err := Export(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if ours := ensure(t, copied); !ours.Imported {
		t.Errorf("after an export: got %+v", ours)
	}
}

// TestTakeOver: a pool that was in use on a machine that is gone is imported by who may
// take it over, once in an assignment.
func TestTakeOver(t *testing.T) {
	const here, there = 0x1234abcd, 0x0badcafe
	cfg := onDisk(t, nil)
	cfg.Multihost, cfg.Assignment = true, Assignment{aClaim(t, "1"), 1}
	becomeHost(t, there)
	copied := lost(t, cfg)

	becomeHost(t, here)
	copied.Assignment.Generation++
	refused(t, "another machine's pool", copied, dot.CodePrecondition)
	copied.TakeOver = true
	if taken := ensure(t, copied); !taken.Imported || taken.Created {
		t.Errorf("got %+v", taken)
	}

	// Whatever makes it foreign again, this assignment is not the one to say so.
	again := copyInUse(t, copied)
	becomeHost(t, there)
	refused(t, "a second time", again, dot.CodePrecondition)
	again.Assignment.Generation++
	if taken := ensure(t, again); !taken.Imported {
		t.Errorf("in the next assignment: got %+v", taken)
	}
	if err := Export(t.Context(), again); err != nil {
		t.Fatal(err)
	}
}
