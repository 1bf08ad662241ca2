package server

import (
	"context"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
)

func TestGrowthIsLookedForOnceAMinute(t *testing.T) {
	grown := 0
	g := &growth{grow: func(context.Context, pool.Config) (bool, error) { grown++; return true, nil }}
	w := newWorker()
	start := time.Now()
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {10 * time.Second, 1}, {growEvery, 1}, {growEvery + time.Second, 2}, {growEvery + 11*time.Second, 2}} {
		g.look(w, start.Add(c.after))
		if next, _ := w.pick(time.Now()); next != nil {
			w.do(t.Context(), next)
		}
		if grown != c.want {
			t.Errorf("after %s: looked %d times, want %d", c.after, grown, c.want)
		}
	}
	(*growth)(nil).look(w, start)
	if w.length() != 0 {
		t.Error("a pool that is not ours was looked at")
	}
}
