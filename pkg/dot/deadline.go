package dot

import (
	"encoding/json"
	"fmt"
	"time"
)

// FenceDeadline is the moment by which the heads of a pool that another pool
// could take over must be read-only unless the pool's lease was renewed. The
// server writes it, as JSON, into the file FenceDeadlineFile of its run
// directory, and both the server and the node service watch it.
type FenceDeadline struct {
	// BootID is /proc/sys/kernel/random/boot_id of when it was written: after a
	// reboot the file says nothing.
	BootID string `json:"bootId"`
	// At is the deadline on CLOCK_BOOTTIME, in nanoseconds since boot.
	At time.Duration `json:"at"`
	// Dataset is what to set readonly: "<root>/dotmesh".
	Dataset string `json:"dataset"`
}

// FenceDeadlineFile is the file's name in a pool's run directory.
// FenceLockFile, beside it, is locked (flock(2), exclusive) by the server while
// it writes the deadline, and by the node service from reading the deadline
// until its fence is on. So a server that writes a later deadline and then lifts
// the fence is never overtaken by a fence of the earlier one.
const (
	FenceDeadlineFile = "deadline"
	FenceLockFile     = "deadline.lock"
)

// ParseFenceDeadline reads what json.Marshal wrote.
func ParseFenceDeadline(b []byte) (FenceDeadline, error) {
	var d FenceDeadline
	if err := json.Unmarshal(b, &d); err != nil {
		return FenceDeadline{}, fmt.Errorf("deadline of the fence: %w", err)
	}
	if d.BootID == "" || d.At <= 0 || d.Dataset == "" {
		return FenceDeadline{}, Invalid("deadline of the fence: boot id, time or dataset is missing")
	}
	return d, nil
}
