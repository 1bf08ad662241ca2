package bench

import (
	"strings"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	for _, tc := range []struct {
		row  Row
		want string
	}{
		{Row{Value: 1.2, Want: Want{"≤", 1.3}}, "met"},
		{Row{Value: 1.3, Want: Want{"≤", 1.3}}, "met"},
		{Row{Value: 1.4, Want: Want{"≤", 1.3}}, "missed"},
		{Row{Value: 0.9, Want: Want{"≥", 0.8}}, "met"},
		{Row{Value: 0.8, Want: Want{"≥", 0.8}}, "met"},
		{Row{Value: 0.7, Want: Want{"≥", 0.8}}, "missed"},
		{Row{Value: 0, Want: Want{"≤", 0}}, "met"},
		{Row{Value: 5}, ""},
	} {
		if got := tc.row.Verdict(); got != tc.want {
			t.Errorf("%+v: %q, want %q", tc.row, got, tc.want)
		}
	}
}

func TestRowsFromTimings(t *testing.T) {
	bare := []time.Duration{9 * time.Second, time.Second, 2 * time.Second}
	ours := []time.Duration{3 * time.Second, 3 * time.Second, 100 * time.Second}
	if r := Compare("x", bare, ours, 1.3); r.Value != 1.5 || r.Verdict() != "missed" {
		t.Errorf("got %+v, want the ratio of medians, 1.5", r)
	}
	if r := Throughput("x", ours, bare, 1); r.Value != 1.5 || r.Verdict() != "met" {
		t.Errorf("got %+v, want 1.5", r)
	}
	var b strings.Builder
	if err := WriteTable(&b, []Row{{What: "One client"}, Compare("CreateVolume", bare, ours, 1.3)}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"One client", "  CreateVolume", "2.00s (1.00s–9.00s)", "3.00s (3.00s–100.00s)", "1.50", "≤ 1.3", "missed"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
