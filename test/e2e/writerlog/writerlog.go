// Package writerlog reads what test/e2e/cmd/writer prints, and compares two writers.
package writerlog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Log is what a writer has said.
type Log struct {
	Last   uint64 // acknowledged
	Starts []string
	Errors []string
	Gaps   []Gap
}

// Gap is a time without an acknowledgement, in milliseconds since 1970.
type Gap struct{ From, To int64 }

// Read reads a whole log.
func Read(text string) Log {
	var l Log
	for line := range strings.Lines(text) {
		l.Add(line)
	}
	return l
}

// Add reads one more line. One that no writer prints is passed over.
func (l *Log) Add(line string) {
	f := strings.Fields(line)
	if len(f) < 2 {
		return
	}
	stamp, _ := strconv.ParseInt(strings.TrimPrefix(f[len(f)-1], "t="), 10, 64)
	switch f[0] {
	case "ack":
		if n, err := strconv.ParseUint(f[1], 10, 64); err == nil {
			l.Last = max(l.Last, n)
		}
	case "start":
		l.Starts = append(l.Starts, line)
	case "error":
		l.Errors = append(l.Errors, line)
	case "gap":
		if ms, err := strconv.ParseInt(strings.TrimSuffix(f[1], "ms"), 10, 64); err == nil {
			l.Gaps = append(l.Gaps, Gap{stamp - ms, stamp})
		}
	}
}

// Since leaves out the gaps that ended before a moment.
func (l Log) Since(moment time.Time) Log {
	l.Gaps = slices.DeleteFunc(slices.Clone(l.Gaps), func(g Gap) bool { return g.To < moment.UnixMilli() })
	return l
}

func (g Gap) String() string {
	return fmt.Sprintf("%s from %s", time.Duration(g.To-g.From)*time.Millisecond, time.UnixMilli(g.From).UTC().Format(time.TimeOnly))
}

// Beyond is how much of the gap was none of a control's, whose gaps do not overlap.
func (g Gap) Beyond(control []Gap) time.Duration {
	own := g.To - g.From
	for _, c := range control {
		own -= max(0, min(g.To, c.To)-max(g.From, c.From))
	}
	return time.Duration(own) * time.Millisecond
}
