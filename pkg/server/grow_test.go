package server

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
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

// TestPoolFileThatIsLargerThanConfigured is told of until the configuration says what
// it has.
func TestPoolFileThatIsLargerThanConfigured(t *testing.T) {
	p := testPlane(t)
	s := &Server{cfg: Config{NodeName: "here"}}
	s.plane.Store(p)
	name, err := zfs.ParsePoolName("pool")
	if err != nil {
		t.Fatal(err)
	}
	const gib = int64(1) << 30
	configured := int64(0)
	p.health = &healthCache{last: engine.Health{State: "ONLINE", Writes: true}, at: time.Now()}
	p.growth = &growth{
		grow: func(context.Context, pool.Config) (bool, error) { return true, nil },
		own:  pool.Config{Name: name}, size: func() int64 { return configured }, at: time.Now(), has: 20 * gib,
	}
	for _, c := range []struct {
		what       string
		configured int64
		grow       bool
		told       string
	}{
		{"installed anew", 10 * gib, false, "has 20Gi, more than the 10Gi"},
		{"told what it has", 20 * gib, false, ""},
		{"to fit what it lies on", 0, false, ""},
		{"raised", 30 * gib, true, ""},
		{"and installed anew", 20 * gib, false, "has 30Gi, more than the 20Gi"},
	} {
		configured = c.configured
		if c.grow {
			if err := p.growth.run(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		res, err := statusHandler{s}.GetStatus(t.Context(), connect.NewRequest(&v1.GetStatusRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		var got *v1.Condition
		for _, of := range res.Msg.Conditions {
			if of.Type == "PoolSize" {
				got = of
			}
		}
		wanted := &v1.Condition{Ok: c.told == "", Reason: "AsConfigured"}
		if c.told != "" {
			wanted.Reason = "LargerThanConfigured"
		}
		if got.GetOk() != wanted.Ok || got.GetReason() != wanted.Reason || !strings.Contains(got.GetMessage(), c.told) || c.told == "" && got.GetMessage() != "" {
			t.Errorf("%s: got %v, want %v with %q", c.what, got, wanted, c.told)
		}
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
		if got := (Config{settings: newSettings(dir), Pool: c.cfg}).poolSize(); got != c.want {
			t.Errorf("setting %q, %+v: got %d, want %d", c.setting, c.cfg, got, c.want)
		}
	}
}
