//go:build zfs

package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/zfstest"
)

// rig is an engine on a throwaway pool.
type rig struct {
	*Engine
	t      *testing.T
	pool   *zfstest.Pool
	base   zfs.Dataset // the engine's root
	runDir string
	mu     sync.Mutex
	// commands are the verbs of the processes that were started.
	commands []string
	// at, if set, is called at every crash point.
	at crash.Hook
}

func TestEngine(t *testing.T) {
	onOnePool(t, map[string]func(*testing.T, *rig){
		"LifeOfABranch":                       testLifeOfABranch,
		"Idempotence":                         testIdempotence,
		"CommitsAtOnceStartFewProcesses":      testCommitsAtOnceStartFewProcesses,
		"DestroyOfAnOriginWithManyDependents": testDestroyOfAnOriginWithManyDependents,
		"Sweep":                               testSweep,
		"BusyIsNamed":                         testBusyIsNamed,
		"Reset":                               testReset,
		"RootVolume":                          testRootVolume,
		"Fence":                               testFence,
		"ReplayOncePerImport":                 testReplayOncePerImport,
		"SubdotQuota":                         testSubdotQuota,
		"SubdotAttacks":                       testSubdotAttacks,
		"MadeForAClaim":                       testMadeForAClaim,
		"ReadOnlyRestore":                     testReadOnlyRestore,
	})
}

// onOnePool runs tests on one pool, because making one takes most of a test's time
// on an emulated machine. Each has a root dataset of its own.
func onOnePool(t *testing.T, tests map[string]func(*testing.T, *rig)) {
	pool := zfstest.New(t, 1<<30, zfs.Config{})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, newRig(t, pool, name)) })
	}
}

func newRig(t *testing.T, pool *zfstest.Pool, name string) *rig {
	t.Helper()
	r := &rig{t: t, runDir: t.TempDir(), base: must(pool.Root().Child(name))}
	r.pool = &zfstest.Pool{
		Client: zfstest.Client(t, zfs.Config{Observe: r.observe, Crash: r.pass}),
		Name:   pool.Name, Device: pool.Device, File: pool.File,
	}
	if err := pool.CreateFilesystem(t.Context(), r.base, nil); err != nil {
		t.Fatal(err)
	}
	r.open()
	if err := r.SetUpRoot(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) pass(ctx context.Context, p crash.Point) { r.at.Pass(ctx, p) }

func (r *rig) observe(args []string, _ time.Duration, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commands = append(r.commands, strings.Join(args[:2], " "))
}

// open starts a server anew on the pool as it is.
func (r *rig) open() {
	r.t.Helper()
	e, err := Open(r.config("test"))
	if err == nil {
		_, err = e.Load(r.t.Context())
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.Engine = e
}

func (r *rig) config(cluster string) Config {
	r.t.Helper()
	id, err := Identify(r.t.Context(), r.pool.Client, r.base)
	if err != nil {
		r.t.Fatal(err)
	}
	return Config{ZFS: r.pool.Client, Root: r.base, Identity: id, ClusterID: cluster, RunDir: r.runDir, Hook: r.pass}
}

// started gives the commands since the last call.
func (r *rig) started() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	commands := r.commands
	r.commands = nil
	return commands
}

func (r *rig) newDot(name string) (dot.Dot, dot.Branch) {
	id := dot.NewID()
	d := dot.Dot{ID: id, FullName: dot.FullName{Namespace: dot.DefaultNamespace, Name: must(dot.ParseName(name))}, State: dot.Ready, Created: time.Now().UTC()}
	return d, dot.Branch{ID: dot.NewBranchID(), Dot: id, Name: dot.MasterBranch, State: dot.Ready, Master: r.PoolID(), Epoch: dot.Epoch{Incarnation: 1, Number: 1}}
}

// claim adds a volume of a size on a subdot.
func claim(d *dot.Dot, b dot.Branch, subdot string, size int64) dot.Volume {
	s := must(dot.ParseSubdot(subdot))
	d.AssignSubdot(s, true)
	return dot.Volume{ID: dot.VolumeIDOf(d.ID.String() + subdot), CSIName: subdot, State: dot.Ready, Dot: d.ID, Branch: b.ID, Subdot: s, SizeBytes: size}
}

func (r *rig) create(name string, from *CommitRef) (dot.Dot, dot.Branch) {
	r.t.Helper()
	d, b := r.newDot(name)
	v := claim(&d, b, "__default__", 32<<20)
	if err := r.CreateBranch(r.t.Context(), BranchSpec{Dot: d, Branch: b, Volumes: []dot.Volume{v}, From: from}); err != nil {
		r.t.Fatal(err)
	}
	return d, b
}

func (r *rig) commit(b dot.Branch) CommitRef {
	r.t.Helper()
	c := dot.Commit{ID: dot.NewCommitID(), Dot: b.Dot, Branch: b.ID, Sequence: 1, Message: "a\nmessage", Time: time.Now().UTC()}
	stored, err := r.Commit(r.t.Context(), c)
	if err != nil {
		r.t.Fatal(err)
	}
	return CommitRef{Branch: b.ID, Commit: c.ID, GUID: stored.GUID}
}

func (r *rig) prepare(d dot.Dot, b dot.Branch, subdot string, quota int64) Mountable {
	r.t.Helper()
	s := must(dot.ParseSubdot(subdot))
	m, err := r.Prepare(r.t.Context(), PrepareSpec{Branch: b.ID, Subdot: s, Record: d.Subdots[s], QuotaBytes: quota})
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// mounted runs f with a branch mounted.
func (r *rig) mounted(b dot.Branch, f func(dir string)) {
	r.t.Helper()
	dataset := must(r.Parent().Child(b.ID.String()))
	dir := r.t.TempDir()
	if err := unix.Mount(dataset.String(), dir, "zfs", 0, ""); err != nil {
		r.t.Fatalf("mounting %s: %v", dataset, err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			r.t.Errorf("unmounting %s: %v", dir, err)
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	}()
	f(dir)
}

func (r *rig) write(b dot.Branch, name, content string) {
	r.t.Helper()
	r.mounted(b, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			r.t.Error(err)
		}
	})
}

func (r *rig) read(b dot.Branch, name string) string {
	r.t.Helper()
	var got []byte
	r.mounted(b, func(dir string) { got, _ = os.ReadFile(filepath.Join(dir, name)) })
	return string(got)
}

// names lists what lies below the parent, with "dotmesh/" and ids as they are.
func (r *rig) names() []string {
	r.t.Helper()
	items, err := r.pool.List(r.t.Context(), r.Parent(), zfs.ListOptions{Kinds: []zfs.Kind{zfs.KindFilesystem, zfs.KindSnapshot}, Depth: zfs.All, Properties: []zfs.Property{zfs.PropUsed}})
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, item := range items {
		if item.Dataset != r.Parent() {
			names = append(names, strings.TrimPrefix(item.Target().String(), r.Parent().String()+"/"))
		}
	}
	slices.Sort(names)
	return names
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func testCommitsAtOnceStartFewProcesses(t *testing.T, r *rig) {
	const count = 6
	var branches []dot.Branch
	for n := range count {
		_, b := r.create(fmt.Sprint("busy", n), nil)
		branches = append(branches, b)
	}
	r.started()
	var all sync.WaitGroup
	for n, b := range branches {
		all.Go(func() {
			c := dot.Commit{ID: dot.NewCommitID(), Dot: b.Dot, Branch: b.ID, Message: fmt.Sprint(n)}
			if stored, err := r.Commit(t.Context(), c); err != nil || stored.GUID == 0 || stored.CreateTXG == 0 {
				t.Errorf("%d: got %v, %v", n, stored, err)
			}
		})
	}
	all.Wait()
	if got := r.started(); len(got) > 3 {
		t.Errorf("%d commits started %d processes: %q", count, len(got), got)
	}
	// Commits of one branch, at once: ZFS takes one of a filesystem per txg.
	for range 3 {
		all.Go(func() { r.commit(branches[0]) })
	}
	all.Wait()
	if got := len(r.names()); got != 2*count+3 {
		t.Errorf("got %d names, want %d", got, 2*count+3)
	}
}

func testFence(t *testing.T, r *rig) {
	d, b := r.create("fenced", nil)
	if err := r.Fence(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	r.prepare(d, b, "__default__", 32<<20) // nobody else has a copy: the fence does not reach it
	if err := r.InheritFence(t.Context(), b.ID, true); err != nil {
		t.Fatal(err)
	}
	claim(&d, b, "more", 0)
	s := must(dot.ParseSubdot("more"))
	spec := PrepareSpec{Branch: b.ID, Subdot: s, Record: d.Subdots[s]}
	if _, err := r.Prepare(t.Context(), spec); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("behind the fence: got %v, want CodePrecondition", err)
	}
	if err := r.Fence(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Prepare(t.Context(), spec); err != nil {
		t.Error(err)
	}
}

// testReplayOncePerImport: a head that was not mounted since the import is
// mounted before its first commit, and only then.
func testReplayOncePerImport(t *testing.T, r *rig) {
	_, b := r.create("replayed", nil)
	replays := 0
	r.at = func(_ context.Context, p crash.Point) {
		if p == AfterReplay {
			replays++
		}
	}
	r.commit(b)
	if replays != 0 {
		t.Errorf("a new branch was replayed %d times", replays)
	}
	if err := r.pool.Export(t.Context(), r.pool.Name); err != nil {
		t.Fatal(err)
	}
	if err := r.pool.Import(t.Context(), zfs.ImportSpec{Devices: []string{r.pool.Device.Path}, Name: r.pool.Name}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.open() // a restart of the server forgets nothing
		r.commit(b)
		r.commit(b)
		if replays != 1 {
			t.Errorf("after an import: got %d replays, want 1", replays)
		}
	}
}
