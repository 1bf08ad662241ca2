package server

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
)

func TestGrowthIsLookedForOnceAMinute(t *testing.T) {
	grown := 0
	g := &growth{grow: func(context.Context, pool.Config) (bool, error) { grown++; return true, nil }, size: func() int64 { return 0 }}
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

// TestPoolFileFollowsItsSetting: the flag is of when the pod was made; the setting is
// what the operator says by now.
func TestPoolFileFollowsItsSetting(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		setting string
		cfg     PoolConfig
		want    int64
	}{
		{"", PoolConfig{SizeBytes: 1 << 30}, 1 << 30},
		{"2G", PoolConfig{SizeBytes: 1 << 30}, 2 << 30},
		{"512M", PoolConfig{SizeBytes: 1 << 30}, 1 << 30}, // it never shrinks
		{"much", PoolConfig{SizeBytes: 1 << 30}, 1 << 30},
		{"2G", PoolConfig{}, 0}, // as much as there is room for
		{"2G", PoolConfig{Device: "/dev/pool"}, 0},
	} {
		if err := os.WriteFile(filepath.Join(dir, poolSizeSetting), []byte(c.setting), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := (Config{SettingsDir: dir, Pool: c.cfg}).poolSize(); got != c.want {
			t.Errorf("setting %q, %+v: got %d, want %d", c.setting, c.cfg, got, c.want)
		}
	}
}
