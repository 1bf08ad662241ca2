//go:build bench

package bench

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
)

const (
	few, many = 100, 1000 // dots
	commits   = 5         // of each
	clients   = 16
)

// sizes are the numbers of dots to measure with, one or two.
func sizes(t *testing.T) []int {
	s := os.Getenv("BENCH_DOTS")
	if s == "" {
		return []int{few, many}
	}
	n, err := strconv.Atoi(s)
	switch {
	case err != nil || n < 10:
		t.Fatalf("BENCH_DOTS=%q: want a number of at least 10", s)
	case n <= few:
		return []int{n}
	}
	return []int{few, n}
}

func TestBench(t *testing.T) {
	sizes := sizes(t)
	var mounts, calls, rows []Row
	var all []standing
	t.Run("empty", func(t *testing.T) { mounts = newWorld(t, 0).mounts(sizes[0]) })
	for i, n := range sizes {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			w := newWorld(t, n)
			s := w.standing()
			all = append(all, s)
			rows = append(rows, s.rows()...)
			if i == 0 {
				calls = w.calls()
			}
		})
	}
	if len(all) == 2 {
		rows = append(rows, growth(all[0], all[1])...)
	}
	fmt.Println()
	if err := WriteTable(os.Stdout, slices.Concat(calls, mounts, rows)); err != nil {
		t.Fatal(err)
	}
	if t.Failed() {
		fmt.Println("\nNot everything was measured: see above.")
	}
}
