// Package hostclock reads the clock that a fence's deadline counts on. Server, node
// service and lease must read the same one: CLOCK_BOOTTIME (clock_gettime(2)), which
// nobody sets and which goes on while a machine sleeps. It begins anew with each
// boot, so that a reading that is kept is kept with the boot's id.
package hostclock

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// SinceBoot reads the clock, which cannot fail on Linux.
func SinceBoot() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	return time.Duration(now.Nano())
}

// BootID names this boot of the machine, for all of its containers: a UUID
// (random(4)).
func BootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}
