package server

import (
	"context"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
)

func TestStatusOfThePool(t *testing.T) {
	p := testPlane(t)
	s := &Server{cfg: Config{NodeName: "here"}}
	s.plane.Store(p)
	for _, health := range []engine.Health{
		{State: "ONLINE", Writes: true, SizeBytes: 9, FreeBytes: 4, FragmentPercent: 7},
		{State: "DEGRADED", Writes: true, Problem: "a disk is away"},
		{State: "SUSPENDED", Problem: "hangs"},
	} {
		p.health = &healthCache{last: health, at: time.Now()}
		res, err := statusHandler{s}.GetStatus(t.Context(), connect.NewRequest(&v1.GetStatusRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		m := res.Msg
		got := engine.Health{
			State: m.Health, Writes: m.Writes, SizeBytes: m.SizeBytes, FreeBytes: m.FreeBytes,
			FragmentPercent: int(m.FragmentationPercent), Problem: m.Conditions[1].Message,
		}
		if got != health || m.Ready != health.Writes {
			t.Errorf("got %+v, ready %t, want %+v", got, m.Ready, health)
		}
	}
}

// TestStatusWithoutTheRegistry: the operator, which waits for 5 s, is told that the registry
// is away, and takes the pool for used.
func TestStatusWithoutTheRegistry(t *testing.T) {
	registry, stop := storeAndEtcd(t, nil)
	p := planeOn(t, registry)
	p.health.at = time.Now()
	s := &Server{cfg: Config{NodeName: "here"}}
	s.plane.Store(p)
	stop()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	res, err := statusHandler{s}.GetStatus(ctx, connect.NewRequest(&v1.GetStatusRequest{}))
	if err != nil || ctx.Err() != nil {
		t.Fatal(err, ctx.Err())
	}
	i := slices.IndexFunc(res.Msg.Conditions, func(c *v1.Condition) bool { return c.Type == "Registry" })
	if c := res.Msg.Conditions[i]; c.Reason != "Away" || !res.Msg.InUse {
		t.Errorf("got %v, in use: %t", c, res.Msg.InUse)
	}
}
