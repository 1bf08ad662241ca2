//go:build bench

package bench

import (
	"fmt"
	"time"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
)

// idleMinute is what a server with a number of dots costs while nothing happens.
type idleMinute struct {
	dots       int
	rss        int64
	cpu        time.Duration // per minute
	writes     int64         // to etcd, per minute
	processes  int64         // started on the machine, per minute
	list       time.Duration // one bare zfs list -t all
	startReady time.Duration
}

// idle measures a minute after the last request, then a start.
func (w *world) idle(volumes []*dotmeshv1.Volume, n int) idleMinute {
	w.logf("idle with %d dots", n)
	time.Sleep(20 * time.Second) // what the last requests left behind
	m := idleMinute{dots: n}
	before, writes, processes := w.usage(), w.revision(), w.forks()
	time.Sleep(time.Minute)
	after := w.usage()
	m.cpu, m.rss = after.cpu-before.cpu, after.rss
	m.writes, m.processes = w.revision()-writes, w.forks()-processes

	var lists, starts []time.Duration
	for range 3 {
		lists = append(lists, timed(func() { w.run("zfs", "list", "-H", "-t", "all", "-r", poolName) }))
		kill(w.server)
		starts = append(starts, w.startServer())
	}
	m.list, m.startReady = Median(lists), Median(starts)
	return m
}

func (m idleMinute) rows() []Row {
	with := fmt.Sprintf(" with %d dots", m.dots)
	return []Row{
		{What: "resident memory of the server" + with, Ours: fmt.Sprintf("%.1f MiB", float64(m.rss)/(1<<20))},
		{What: "CPU of the idle server, per minute" + with, Ours: short(m.cpu)},
		{What: "etcd writes while idle, per minute" + with, Ours: fmt.Sprint(m.writes), Value: float64(m.writes), Want: Want{"≤", 0}},
		{What: "processes started on the machine while idle, per minute" + with, Ours: fmt.Sprint(m.processes)},
		{What: "start to ready / zfs list -t all" + with, Bare: short(m.list), Ours: short(m.startReady), Value: divide(m.startReady, m.list)},
	}
}

// growth compares two sizes.
func growth(a, b idleMinute) []Row {
	what := fmt.Sprintf(", %d dots / %d dots", b.dots, a.dots)
	return []Row{
		{What: "resident memory" + what, Value: float64(b.rss) / float64(a.rss)},
		{What: "idle CPU" + what, Value: divide(b.cpu, a.cpu)},
		{What: "start to ready" + what, Value: divide(b.startReady, a.startReady)},
		{What: "zfs list -t all" + what, Value: divide(b.list, a.list)},
	}
}
