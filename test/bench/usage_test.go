//go:build bench

package bench

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usage of the server's process.
type usage struct {
	cpu time.Duration
	rss int64 // bytes
}

func (w *world) usage() usage {
	const ticks = 100 // of a second; USER_HZ is 100 on every Linux
	pid := strconv.Itoa(w.server.Process.Pid)
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		w.t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	pages, _ := strconv.ParseInt(fields[21], 10, 64)
	return usage{cpu: time.Duration(user+system) * time.Second / ticks, rss: pages * int64(os.Getpagesize())}
}

// startAccounting has the kernel write down each process that ends.
func (w *world) startAccounting() {
	f, err := os.OpenFile(w.path("processes"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	w.ended = f
	w.t.Cleanup(func() {
		_ = unix.Acct("")
		f.Close()
	})
	if err := unix.Acct(f.Name()); err != nil {
		w.t.Fatalf("process accounting: %v", err)
	}
}

// children counts the processes that the server has started and that ended since
// the last call.
func (w *world) children() int {
	b, err := io.ReadAll(w.ended)
	if err != nil {
		w.t.Fatal(err)
	}
	all, err := parseAccounting(b)
	if err != nil {
		w.t.Fatal(err)
	}
	count := 0
	for _, p := range all {
		if p.Parent == w.server.Process.Pid {
			count++
		}
	}
	return count
}

// writes to the registry since it was made, as etcd's raft log counts them:
// leases and whatever else changes no key too.
func (w *world) writes() uint64 {
	status, err := w.keys.Status(w.t.Context(), w.etcd.Endpoint())
	if err != nil {
		w.t.Fatal(err)
	}
	return status.RaftIndex
}
