//go:build lab

package lab_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// TestVolatileDisk shows, several times, that a power cut loses what was not
// flushed and keeps what was; and that the disk bears a pool's load: no I/O
// error, and no damage after the cuts.
func TestVolatileDisk(t *testing.T) {
	env := environment(t)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	vm, err := lab.StartVM(ctx, env, lab.VMConfig{Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vm.Close(); err != nil {
			t.Error(err)
		}
	})
	output := func(command string) string {
		t.Helper()
		out, err := vm.Output(ctx, command)
		if err != nil {
			t.Fatalf("%v\nconsole: %s", err, vm.Console())
		}
		return out
	}
	output("truncate -s 2G /var/lib/dotmesh/pool && zpool create -O compression=off p /var/lib/dotmesh/pool")
	for round := range 3 {
		// Incompressible, so that the disk has to take all of it.
		output(fmt.Sprintf("head -c 40M /dev/urandom >/p/data%d && sha256sum /p/data* >/p/sums && zpool sync p && sync", round))
		flushed, lost := fmt.Sprintf("F%d", round), fmt.Sprintf("U%d", round)
		output(rawWrites(flushed, lost))
		vm.PowerCut()
		if err := vm.Boot(ctx); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimRight(output(rawRead(0)), "\x00"); got != flushed {
			t.Errorf("round %d: the block that was flushed: got %q, want %q", round, got, flushed)
		}
		if got := strings.TrimRight(output(rawRead(1)), "\x00"); got != "" {
			t.Errorf("round %d: the block that was not flushed: got %q, want what was there before", round, got)
		}
		t.Logf("round %d: booted again", round)
		output("zpool import -f -d /var/lib/dotmesh p && sha256sum --quiet -c /p/sums && zpool scrub -w p")
		if got := output("zpool status -x p"); !strings.Contains(got, "is healthy") {
			t.Errorf("round %d: the pool after the power cut: %s", round, got)
		}
		if got := output("dmesg | grep -i -E 'i/o error|critical|ext4-fs error' || true"); got != "" {
			t.Errorf("round %d: the kernel says: %s", round, got)
		}
	}
}

// The last blocks of the disk, which ext4 does not use yet.
const rawBlock = 2600000

// rawWrites writes one block and flushes it, and another without, both through
// O_DIRECT, so that the guest's cache plays no part. The file system is frozen
// first: it would flush the disk for its own sake.
func rawWrites(flushed, unflushed string) string {
	const write = "printf %s | dd of=/dev/vda bs=4096 seek=%d oflag=direct conv=sync%s status=none"
	return "fsfreeze -f /state && " + fmt.Sprintf(write, flushed, rawBlock, ",fsync") + " && " + fmt.Sprintf(write, unflushed, rawBlock+1, "")
}

func rawRead(n int) string {
	return fmt.Sprintf("dd if=/dev/vda bs=4096 skip=%d count=1 iflag=direct status=none", rawBlock+n)
}
