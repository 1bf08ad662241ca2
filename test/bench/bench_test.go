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
	var rows []Row
	add := func(more []Row) {
		rows = append(rows, more...)
		show(t, more) // what follows may take long
	}
	t.Run("empty", func(t *testing.T) {
		w := newWorld(t, 0)
		add(w.oneClient())
		add(w.manyClients())
		w.survive()
		add(w.mounts(sizes[0]))
	})
	var all []standing
	for _, n := range sizes {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			s := newWorld(t, n).standing()
			all = append(all, s)
			add(s.rows())
		})
	}
	if len(all) == 2 {
		rows = append(rows, growth(all[0], all[1])...)
	}
	fmt.Println()
	show(t, rows)
	if t.Failed() {
		fmt.Println("\nNot everything was measured: see above.")
	}
}

func show(t *testing.T, rows []Row) {
	if err := WriteTable(os.Stdout, rows); err != nil {
		t.Fatal(err)
	}
}
