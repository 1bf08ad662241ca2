//go:build bench

package bench

import (
	"fmt"
	"time"
)

// standing is what a server with a number of dots costs while nothing happens,
// and to start.
type standing struct {
	dots       int
	rss        int64
	cpu        time.Duration // per minute
	writes     uint64        // to etcd, per minute
	processes  int           // that the server started, per minute
	lists      []time.Duration
	startReady []time.Duration
}

// standing measures a minute in which nobody calls, and starts.
func (w *world) standing() standing {
	starts := 5
	if w.dots > few {
		starts = 3 // of minutes each
	}
	progress("starting the server with %d dots", w.dots)
	s := standing{dots: w.dots}
	s.lists, s.startReady = interleave(starts,
		func(int) { w.run("zfs", "list", "-H", "-t", "all", "-r", w.poolName) },
		func(int) {
			kill(w.server)
			w.startServer()
		})

	progress("idle with %d dots", w.dots)
	time.Sleep(15 * time.Second) // what the start left behind
	w.children()
	before, writes := w.usage(), w.writes()
	time.Sleep(time.Minute)
	after := w.usage()
	s.cpu, s.rss = after.cpu-before.cpu, after.rss
	s.writes, s.processes = w.writes()-writes, w.children()
	return s
}

func (s standing) rows() []Row {
	start := Compare("start to ready / zfs list -t all", s.lists, s.startReady, 0)
	start.Want = Want{}
	return []Row{
		{What: fmt.Sprintf("The server with %d dots, %d commits each", s.dots, commits)},
		{What: "resident memory", Ours: fmt.Sprintf("%.1f MiB", float64(s.rss)/(1<<20))},
		{What: "CPU in an idle minute", Ours: short(s.cpu)},
		{What: "etcd writes in an idle minute", Value: float64(s.writes), Want: Want{"≤", 0}},
		{What: "processes started in an idle minute", Value: float64(s.processes), Want: Want{"≤", 0}},
		start,
	}
}

// growth compares two sizes.
func growth(a, b standing) []Row {
	return []Row{
		{What: fmt.Sprintf("Growth from %d to %d dots", a.dots, b.dots)},
		{What: "resident memory", Value: float64(b.rss) / float64(a.rss)},
		{What: "idle CPU", Value: divide(b.cpu, a.cpu)},
		{What: "start to ready", Value: divide(Median(b.startReady), Median(a.startReady))},
		{What: "zfs list -t all", Value: divide(Median(b.lists), Median(a.lists))},
	}
}
