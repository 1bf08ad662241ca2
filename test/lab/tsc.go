package lab

import (
	"fmt"
	"strings"
	"time"
)

// clock is what the kernel has to be told of the time. A guest that calibrates
// its TSC while the host is busy may find a tenth of its frequency, and then lives
// ten times as fast: every timeout in it is too short. Emulated CPUs have the
// host's TSC (QEMU's cpu_get_host_ticks), so the lab measures that.
func (e Env) clock() string {
	if !strings.HasPrefix(e.Accel, "tcg") {
		return ""
	}
	khz := tscKHz()
	if khz == 0 {
		return "tsc=reliable"
	}
	return fmt.Sprintf("tsc=reliable tsc_early_khz=%d", khz)
}

// tscKHz measures the counter against the monotonic clock; 0 when it cannot.
func tscKHz() uint64 {
	const span = 100 * time.Millisecond
	begin, from := reading()
	time.Sleep(span)
	end, to := reading()
	if to <= from {
		return 0
	}
	return (to - from) * uint64(time.Millisecond) / uint64(end.Sub(begin))
}

// reading is a look at both clocks that nothing came between, as far as trying
// helps: the shortest of many.
func reading() (time.Time, uint64) {
	const tries = 100
	var at time.Time
	var counter uint64
	shortest := time.Duration(-1)
	for range tries {
		before := time.Now()
		c := cycles()
		if took := time.Since(before); shortest < 0 || took < shortest {
			shortest, at, counter = took, before, c
		}
	}
	return at, counter
}
