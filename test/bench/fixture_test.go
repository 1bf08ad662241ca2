//go:build bench

package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/host"
)

const (
	// fixtureDir holds the pool files that TestFixture leaves.
	fixtureDir = "/var/lib/dotmesh/fixtures"
	poolBytes  = 3 << 30
	// patience is with one command: other machines may use the host too.
	patience = 10 * time.Minute
)

// TestFixture makes the pools that TestBench begins with and leaves them
// exported in fixtureDir.
func TestFixture(t *testing.T) {
	for _, n := range sizes(t) {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			if err := makePool(t.Context(), t.TempDir(), n); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// maker makes dots as the server does, without its registry.
type maker struct {
	engine *engine.Engine
	dots   []made
}

type made struct {
	dot    dot.Dot
	branch dot.Branch
	volume dot.Volume
	last   dot.CommitID
}

func poolNameOf(dots int) string { return fmt.Sprintf("dots%d", dots) }

// makePool makes a pool file with dots that have a volume and commits each.
func makePool(ctx context.Context, runDir string, dots int) error {
	prepared, err := pool.PrepareHost(ctx, host.Host{}, zfs.Config{})
	if err != nil {
		return err
	}
	prepared.ZFS.Timeout = patience
	client, err := zfs.New(prepared.ZFS)
	if err != nil {
		return err
	}
	name, err := zfs.ParsePoolName(poolNameOf(dots))
	if err != nil {
		return err
	}
	cfg := pool.Config{ZFS: client, Name: name, Location: fixtureDir, SizeBytes: poolBytes}
	opened, err := pool.Ensure(ctx, cfg)
	if err != nil {
		return err
	}
	m := maker{dots: make([]made, dots)}
	if m.engine, err = openEngine(ctx, client, opened.Root, filepath.Join(runDir, "run")); err != nil {
		return err
	}
	if err := m.fill(ctx); err != nil {
		return err
	}
	return pool.Export(ctx, cfg)
}

func openEngine(ctx context.Context, client *zfs.Client, root zfs.Dataset, runDir string) (*engine.Engine, error) {
	identity, err := engine.Identify(ctx, client, root)
	if err != nil {
		return nil, err
	}
	e, err := engine.Open(engine.Config{ZFS: client, Root: root, Identity: identity, ClusterID: dot.NewID().String(), RunDir: runDir})
	if err != nil {
		return nil, err
	}
	if err := e.SetUpRoot(ctx); err != nil {
		return nil, err
	}
	_, err = e.Load(ctx)
	return e, err
}

func (m *maker) fill(ctx context.Context) error {
	progress("making %d dots", len(m.dots))
	const atATime = 100 // commits go together
	if err := eachAtOnce(len(m.dots), clients, func(i int) error { return m.makeDot(ctx, i) }); err != nil {
		return err
	}
	for round := range commits {
		progress("commit %d of each", round+1)
		if err := eachAtOnce(len(m.dots), atATime, func(i int) error { return m.commit(ctx, i, round) }); err != nil {
			return err
		}
	}
	progress("made them")
	return nil
}

func (m *maker) makeDot(ctx context.Context, i int) error {
	name, now := fmt.Sprintf("dot-%d", i), time.Now()
	id := dot.VolumeIDOf(name)
	v := dot.Volume{
		ID: id, CSIName: name, State: dot.Ready, Dot: dot.IDOf(id), Branch: dot.BranchIDOf(id), Subdot: dot.DefaultSubdot,
		SizeBytes: size, KubernetesNamespace: "bench", PVCName: name, NewDot: true, Created: now,
	}
	d := dot.Dot{ID: v.Dot, FullName: dot.FullName{Namespace: dot.DefaultNamespace, Name: dot.NameFor(name)}, State: dot.Ready, MadeByPVC: true, Owner: "bench", Created: now}
	d.AssignSubdot(v.Subdot, true)
	b := dot.Branch{
		ID: v.Branch, Dot: d.ID, Name: dot.MasterBranch, State: dot.Ready, Master: m.engine.PoolID(),
		Epoch: dot.Epoch{Incarnation: 1, Number: 1}, Created: now,
	}
	m.dots[i] = made{dot: d, branch: b, volume: v}
	return m.engine.CreateBranch(ctx, engine.BranchSpec{Dot: d, Branch: b, Volumes: []dot.Volume{v}})
}

func (m *maker) commit(ctx context.Context, i, round int) error {
	d := &m.dots[i]
	c := dot.Commit{
		ID: dot.NewCommitID(), Dot: d.dot.ID, Branch: d.branch.ID, Sequence: uint64(round + 1), Author: "admin", Time: time.Now(),
		Metadata: dot.Metadata{"kubernetes.namespace": "bench"}, Parent: d.last, CSIName: fmt.Sprintf("dot-%d-%d", i, round),
		Volume: d.volume.ID, Subdot: d.volume.Subdot, SizeBytes: size,
	}
	d.last = c.ID
	var err error
	for begin := time.Now(); time.Since(begin) < patience; {
		if _, err = m.engine.Commit(ctx, c); err == nil {
			return nil
		}
	}
	return err
}

// eachAtOnce is atOnce that gives the first error and then does no more.
func eachAtOnce(n, atATime int, f func(i int) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	atOnce(n, atATime, func(i int) {
		if ctx.Err() != nil {
			return
		}
		if err := f(i); err != nil {
			cancel(err)
		}
	})
	return context.Cause(ctx)
}
