//go:build bench

package bench

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

const (
	few, many = 100, 1000 // dots
	commits   = 5         // of each
	clients   = 16
)

// sizes are the numbers of dots to measure with.
func sizes(t *testing.T) (small, large int) {
	s := os.Getenv("BENCH_DOTS")
	if s == "" {
		return few, many
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 10 {
		t.Fatalf("BENCH_DOTS=%q: want a number of at least 10", s)
	}
	return min(few, n), n
}

// TestFixture makes the pools that TestBench begins with and leaves them
// exported in fixtureDir.
func TestFixture(t *testing.T) {
	small, large := sizes(t)
	for _, n := range []int{small, large} {
		t.Run(strconv.Itoa(n), func(t *testing.T) { newWorld(t, n).keep = true })
	}
}

func TestBench(t *testing.T) {
	small, large := sizes(t)
	var calls, rows []Row
	var first, second standing
	t.Run("empty", func(t *testing.T) { rows = newWorld(t, 0).mounts(small) })
	t.Run(strconv.Itoa(small), func(t *testing.T) {
		w := newWorld(t, small)
		first = w.standing()
		rows = append(rows, first.rows()...)
		calls = w.calls()
	})
	if large > small {
		t.Run(strconv.Itoa(large), func(t *testing.T) {
			second = newWorld(t, large).standing()
			rows = append(rows, second.rows()...)
			rows = append(rows, growth(first, second)...)
		})
	}
	fmt.Println()
	if err := WriteTable(os.Stdout, append(calls, rows...)); err != nil {
		t.Fatal(err)
	}
	if t.Failed() {
		fmt.Println("\nNot everything was measured: see above.")
	}
}
