package bench

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Row is one line of the result; one with nothing but What is a heading.
type Row struct {
	What string
	// Bare and Ours are what was measured, "" where there is nothing to tell.
	Bare, Ours string
	// Value is compared with Want: a ratio, or a number where nothing is compared.
	Value float64
	Want  Want
}

// Want is a limit; the zero value is none.
type Want struct {
	Op    string // "≤" or "≥"
	Limit float64
}

// Verdict is "met", "missed" or "".
func (r Row) Verdict() string {
	switch {
	case r.Want.Op == "":
		return ""
	case r.Want.Op == "≤" && r.Value <= r.Want.Limit, r.Want.Op == "≥" && r.Value >= r.Want.Limit:
		return "met"
	}
	return "missed"
}

func (w Want) String() string {
	if w.Op == "" {
		return ""
	}
	return fmt.Sprintf("%s %.4g", w.Op, w.Limit)
}

// WriteTable prints rows for a person.
func WriteTable(w io.Writer, rows []Row) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "\tBARE\tOURS\tRESULT\tWANTED\t")
	for _, r := range rows {
		if r == (Row{What: r.What}) {
			fmt.Fprintf(tw, "%s\t\t\t\t\t\n", r.What)
			continue
		}
		value := ""
		if r.Value != 0 || r.Want.Op != "" {
			value = fmt.Sprintf("%.2f", r.Value)
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\t%s\n", r.What, r.Bare, r.Ours, value, r.Want, r.Verdict())
	}
	return tw.Flush()
}

// Median of durations; 0 of none.
func Median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// Compare makes a row of two sets of timings: how many times longer ours took.
func Compare(what string, bare, ours []time.Duration, limit float64) Row {
	return Row{What: what, Bare: spread(bare), Ours: spread(ours), Value: divide(Median(ours), Median(bare)), Want: Want{"≤", limit}}
}

// Throughput makes a row of two sets of timings of equal work: how many times as
// much ours did in the same time.
func Throughput(what string, bare, ours []time.Duration, limit float64) Row {
	return Row{What: what, Bare: spread(bare), Ours: spread(ours), Value: divide(Median(bare), Median(ours)), Want: Want{"≥", limit}}
}

// spread is the median with the quartiles around it.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return ""
	}
	sorted := slices.Sorted(slices.Values(all))
	return fmt.Sprintf("%s (%s–%s)", short(Median(all)), short(sorted[len(sorted)/4]), short(sorted[len(sorted)*3/4]))
}

func divide(a, b time.Duration) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%.0fms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.2fs", d.Seconds())
}
