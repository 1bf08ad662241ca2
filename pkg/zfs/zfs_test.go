//go:build zfs

package zfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/loop"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/zfstest"
)

const poolSize = 512 << 20

// processes counts what was started.
type processes struct {
	mu   sync.Mutex
	args [][]string
}

func (p *processes) observe(args []string, _ time.Duration, _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.args = append(p.args, args)
}

// expect fails unless exactly n were started since the last call.
func (p *processes) expect(t *testing.T, n int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.args) != n {
		t.Errorf("%d processes were started, want %d: %q", len(p.args), n, p.args)
	}
	p.args = nil
}

func dataset(t testing.TB, parent zfs.Dataset, name string) zfs.Dataset {
	t.Helper()
	d, err := parent.Child(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func snapshot(t testing.TB, d zfs.Dataset, name string) zfs.Snapshot {
	t.Helper()
	s, err := d.Snapshot(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestFilesystems(t *testing.T) {
	var count processes
	var mu sync.Mutex
	passed := map[crash.Point]bool{}
	pool := zfstest.New(t, poolSize, zfs.Config{Observe: count.observe, Crash: func(_ context.Context, p crash.Point) {
		mu.Lock()
		defer mu.Unlock()
		passed[p] = true
	}})
	ctx := t.Context()
	count.expect(t, 1)

	a := dataset(t, pool.Root(), "a")
	props := zfs.Props{
		"io.dotmesh:name": `{"quote":"\"'$(x)","tab":"\t"}`, zfs.PropMountpoint: "legacy", zfs.PropCanmount: "noauto",
		zfs.ProjectQuotaProperty(7): "1048576", zfs.PropCompression: "lz4",
	}
	props["io.dotmesh:name"] = strings.ReplaceAll(props["io.dotmesh:name"], "\t", `\t`)
	must(t, pool.CreateFilesystem(ctx, a, props))
	count.expect(t, 1)
	wantError(t, pool.CreateFilesystem(ctx, a, nil), zfs.ErrExists)
	wantError(t, pool.CreateFilesystem(ctx, dataset(t, dataset(t, pool.Root(), "no"), "x"), nil), zfs.ErrNotFound)
	count.expect(t, 2)

	values, err := pool.Get(ctx, a, "io.dotmesh:name", zfs.PropCompression, "io.dotmesh:unset", "projectquota@7")
	must(t, err)
	if got, local := values.Local("io.dotmesh:name"); !local || got != props["io.dotmesh:name"] {
		t.Errorf("user property = %q", got)
	}
	if _, ok := values["io.dotmesh:unset"]; ok || values["projectquota@7"].Value != "1048576" {
		t.Errorf("values = %v", values)
	}

	base := snapshot(t, a, "base")
	results, err := pool.Snapshot(ctx, []zfs.SnapshotSpec{{Snapshot: base}})
	must(t, err)
	must(t, results[0].Err)
	b := dataset(t, pool.Root(), "b")
	count.expect(t, 2)
	must(t, pool.Clone(ctx, base, b, zfs.Props{zfs.PropMountpoint: "legacy", "io.dotmesh:x": "1"}))
	count.expect(t, 1)

	err = pool.Destroy(ctx, a)
	wantError(t, err, zfs.ErrHasChildren)
	err = pool.DestroySnapshots(ctx, base)
	wantError(t, err, zfs.ErrHasClones)
	var failure *zfs.CommandError
	if !errors.As(err, &failure) || fmt.Sprint(failure.Dependents) != fmt.Sprint([]string{b.String()}) {
		t.Errorf("dependents: %v", err)
	}
	must(t, pool.Promote(ctx, b))
	must(t, pool.Destroy(ctx, a))
	must(t, pool.SetProperties(ctx, b, zfs.Props{"io.dotmesh:y": "2", zfs.PropAtime: "off"}))
	must(t, pool.InheritProperty(ctx, b, "io.dotmesh:y"))

	// A mounted legacy filesystem can be renamed and fenced.
	dir := zfstest.Mount(t, b)
	c := dataset(t, pool.Root(), "c")
	must(t, pool.Rename(ctx, b, c))
	var fence zfs.Fence = pool.SetReadonly
	must(t, fence(ctx, c, true))
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err == nil {
		t.Error("a fenced filesystem was written to")
	}
	must(t, fence(ctx, c, false))
	must(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o600))
	must(t, pool.InheritReadonly(ctx, c))
	wantError(t, pool.Destroy(ctx, dataset(t, pool.Root(), "gone")), zfs.ErrNotFound)
	for _, p := range []crash.Point{zfs.BeforeCreate, zfs.AfterCreate, zfs.BeforeSnapshot, zfs.AfterSnapshot, zfs.AfterRename, zfs.AfterFence} {
		if !passed[p] {
			t.Errorf("crash point %s was not passed", p)
		}
	}
}

func TestSnapshotProgram(t *testing.T) {
	var count processes
	pool := zfstest.New(t, poolSize, zfs.Config{Observe: count.observe})
	ctx := t.Context()
	a := dataset(t, pool.Root(), "a")
	must(t, pool.CreateFilesystem(ctx, a, zfs.Props{zfs.PropMountpoint: "legacy", "io.dotmesh:inherited": "x"}))
	filesystems := []zfs.Dataset{a}
	for i := range 5 {
		d := dataset(t, a, fmt.Sprint("kid", i))
		must(t, pool.CreateFilesystem(ctx, d, nil))
		filesystems = append(filesystems, d)
	}
	count.expect(t, 7)

	// Several filesystems, full-sized metadata, one process, one txg.
	var specs []zfs.SnapshotSpec
	for i, d := range filesystems {
		specs = append(specs, zfs.SnapshotSpec{
			Snapshot: snapshot(t, d, "c0"),
			Props:    zfs.Props{"io.dotmesh:meta": strings.Repeat("é", zfs.MaxValue/2), "io.dotmesh:seq": fmt.Sprint(i)},
		})
	}
	specs[0].Props["io.dotmesh:strange"] = `"]]; zfs.sync.destroy("x") -- \ %s $HOME`
	specs = append(specs, zfs.SnapshotSpec{Snapshot: snapshot(t, dataset(t, pool.Root(), "missing"), "x")})
	results, err := pool.Snapshot(ctx, specs)
	must(t, err)
	count.expect(t, 1)
	last := len(specs) - 1
	wantError(t, results[last].Err, zfs.ErrNotFound)
	for _, r := range results[:last] {
		if r.Err != nil || r.GUID == 0 || r.CreateTXG != results[0].CreateTXG {
			t.Fatalf("%+v", r)
		}
	}

	// The same filesystem three times, and a retry that meets what is there.
	more := []zfs.SnapshotSpec{specs[0], {Snapshot: snapshot(t, a, "c1")}, {Snapshot: snapshot(t, a, "c2")}, specs[1]}
	again, err := pool.Snapshot(ctx, more)
	must(t, err)
	count.expect(t, 3)
	wantError(t, again[0].Err, zfs.ErrExists)
	wantError(t, again[3].Err, zfs.ErrExists)
	if again[0].GUID != results[0].GUID || again[0].CreateTXG != results[0].CreateTXG || again[1].Err != nil || again[2].Err != nil {
		t.Errorf("retry: %+v", again)
	}

	items, err := pool.List(ctx, a, zfs.ListOptions{Depth: zfs.All, Kinds: []zfs.Kind{zfs.KindSnapshot}})
	must(t, err)
	count.expect(t, 1)
	if len(items) != last+2 || items[len(items)-1].Name != "c2" {
		t.Fatalf("snapshots: %+v", items)
	}
	for i, r := range results[:last] {
		found := false
		for _, item := range items {
			if item.Target() != zfs.Target(specs[i].Snapshot) {
				continue
			}
			found = item.GUID == r.GUID && item.CreateTXG == r.CreateTXG
			for name, want := range specs[i].Props {
				if got, _ := item.Values.Local(name); got != want {
					t.Errorf("%s of %s: %.60q", name, item.Target(), got)
				}
			}
			if _, ok := item.Values["io.dotmesh:inherited"]; ok {
				t.Error("an inherited property was listed")
			}
		}
		if !found {
			t.Errorf("%s is not listed as taken", specs[i].Snapshot)
		}
	}

	// Holds, bookmarks, destroying several.
	s0, s1, s2 := specs[0].Snapshot, more[1].Snapshot, more[2].Snapshot
	must(t, pool.Hold(ctx, "keep", s0))
	wantError(t, pool.Hold(ctx, "keep", s0), zfs.ErrExists)
	wantError(t, pool.DestroySnapshots(ctx, s0, s1), zfs.ErrBusy)
	must(t, pool.Release(ctx, "keep", s0))
	wantError(t, pool.Release(ctx, "keep", s0), zfs.ErrNotFound)
	mark, err := a.Bookmark("m")
	must(t, err)
	must(t, pool.Bookmark(ctx, s0, mark))
	wantError(t, pool.Bookmark(ctx, s0, mark), zfs.ErrExists)
	must(t, pool.DestroySnapshots(ctx, s0, s1))
	must(t, pool.DestroySnapshots(ctx, s1, s2))
	wantError(t, pool.DestroySnapshots(ctx, s0, s1), zfs.ErrNotFound)
	items, err = pool.List(ctx, a, zfs.ListOptions{Depth: zfs.All, Kinds: []zfs.Kind{zfs.KindBookmark}})
	if err != nil || len(items) != 1 || items[0].GUID != results[0].GUID {
		t.Errorf("bookmarks: %+v, %v", items, err)
	}
	must(t, pool.DestroyBookmark(ctx, mark))
}

func TestStreams(t *testing.T) {
	pool := zfstest.New(t, poolSize, zfs.Config{})
	ctx := t.Context()
	a := dataset(t, pool.Root(), "a")
	must(t, pool.CreateFilesystem(ctx, a, zfs.Props{zfs.PropMountpoint: "legacy", zfs.PropCompression: "off"}))
	dir := zfstest.Mount(t, a)
	s1, s2 := snapshot(t, a, "s1"), snapshot(t, a, "s2")
	take := func(s zfs.Snapshot) zfs.GUID {
		results, err := pool.Snapshot(ctx, []zfs.SnapshotSpec{{Snapshot: s, Props: zfs.Props{"io.dotmesh:seq": s.Name()}}})
		must(t, err)
		must(t, results[0].Err)
		return results[0].GUID
	}
	must(t, os.WriteFile(filepath.Join(dir, "one"), bytes.Repeat([]byte("one"), 1<<20), 0o600))
	g1 := take(s1)
	must(t, os.WriteFile(filepath.Join(dir, "two"), bytes.Repeat([]byte("two"), 2<<20), 0o600))
	g2 := take(s2)

	size, err := pool.EstimateSend(ctx, zfs.SendSpec{From: s1, To: s2, LargeBlocks: true})
	if err != nil || size < 6<<20 {
		t.Errorf("estimate %d, %v", size, err)
	}
	var full, increment bytes.Buffer
	must(t, pool.Send(ctx, zfs.SendSpec{To: s1, Compressed: true, LargeBlocks: true, Embedded: true, Raw: true}, &full))
	must(t, pool.Send(ctx, zfs.SendSpec{From: s1, To: s2, Compressed: true, LargeBlocks: true, Embedded: true, Raw: true}, &increment))
	h, err := zfs.ParseStreamHeader(increment.Bytes())
	if err != nil || h.FromGUID != g1 || h.ToGUID != g2 {
		t.Errorf("header %+v, %v; want %d to %d", h, err, g1, g2)
	}
	wantError(t, pool.Send(ctx, zfs.SendSpec{To: snapshot(t, a, "none")}, &bytes.Buffer{}), zfs.ErrNotFound)

	r := dataset(t, pool.Root(), "r")
	r1, r2 := snapshot(t, r, "s1"), snapshot(t, r, "s2")
	set := zfs.Props{zfs.PropReadonly: "on", zfs.PropMountpoint: "legacy", zfs.PropCanmount: "noauto", "io.dotmesh:role": "replica"}
	must(t, pool.Receive(ctx, zfs.ReceiveSpec{Target: r1, Resumable: true, Set: set, Exclude: []zfs.Property{zfs.PropQuota}}, bytes.NewReader(full.Bytes())))
	wantError(t, pool.Receive(ctx, zfs.ReceiveSpec{Target: r1}, bytes.NewReader(full.Bytes())), zfs.ErrStreamMismatch)
	_, err = pool.ResumeToken(ctx, r)
	wantError(t, err, zfs.ErrNoResumeToken)
	wantError(t, pool.AbortReceive(ctx, r), zfs.ErrNoResumeToken)

	// A broken stream leaves a token, from which the rest is sent.
	broken := increment.Bytes()[:increment.Len()/2]
	wantError(t, pool.Receive(ctx, zfs.ReceiveSpec{Target: r2, Resumable: true}, bytes.NewReader(broken)), zfs.ErrStreamIncomplete)
	token, err := pool.ResumeToken(ctx, r)
	must(t, err)
	var rest bytes.Buffer
	must(t, pool.Send(ctx, zfs.SendSpec{ResumeToken: token}, &rest))
	h, peeked, err := zfs.PeekStreamHeader(&rest)
	if err != nil || h.ToGUID != g2 || h.Features&zfs.StreamResuming == 0 {
		t.Errorf("header of the rest: %+v, %v", h, err)
	}
	must(t, pool.Receive(ctx, zfs.ReceiveSpec{Target: r2, Resumable: true}, peeked))
	values, err := pool.Get(ctx, r2, zfs.PropGUID)
	must(t, err)
	if values[zfs.PropGUID].Value != g2.String() {
		t.Errorf("received GUID %s, want %s", values[zfs.PropGUID].Value, g2)
	}
	o := dataset(t, pool.Root(), "o")
	must(t, pool.CreateFilesystem(ctx, o, nil))
	wantError(t, pool.Receive(ctx, zfs.ReceiveSpec{Target: snapshot(t, o, "s2")}, bytes.NewReader(increment.Bytes())), zfs.ErrStreamMismatch)

	// A cancelled send ends at once.
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	wantError(t, pool.Send(short, zfs.SendSpec{To: s2}, &bytes.Buffer{}), context.DeadlineExceeded)
}

func TestProjects(t *testing.T) {
	pool := zfstest.New(t, poolSize, zfs.Config{})
	ctx := t.Context()
	a := dataset(t, pool.Root(), "a")
	must(t, pool.CreateFilesystem(ctx, a, zfs.Props{zfs.PropMountpoint: "legacy"}))
	dir := zfstest.Mount(t, a)
	sub := filepath.Join(dir, "sub")
	must(t, os.Mkdir(sub, 0o777))
	f, err := os.Open(sub)
	must(t, err)
	defer f.Close()
	must(t, zfs.SetProjectID(f, 1001, true))
	must(t, zfs.SetProjectID(f, 1001, true))
	if id, inherit, err := zfs.ProjectID(f); id != 1001 || !inherit || err != nil {
		t.Errorf("project %d %v, %v", id, inherit, err)
	}
	must(t, pool.SetProperties(ctx, a, zfs.Props{zfs.ProjectQuotaProperty(1001): "4194304", zfs.ProjectQuotaProperty(1002): "1048576"}))
	file, err := os.Create(filepath.Join(sub, "file"))
	must(t, err)
	defer file.Close()
	if id, _, err := zfs.ProjectID(file); id != 1001 || err != nil {
		t.Errorf("a new file has project %d, %v", id, err)
	}
	random := make([]byte, 1<<20)
	for range 40 {
		for i := range random {
			random[i] = byte(i*7 + i>>8)
		}
		if _, err = file.Write(random); err != nil {
			break
		}
		must(t, file.Sync())
		must(t, pool.Sync(ctx, pool.Name))
	}
	if err == nil || !strings.Contains(err.Error(), "quota") {
		t.Errorf("writing past the quota: %v", err)
	}
	space, err := pool.Usage(ctx, a)
	if err != nil || space.Used == 0 || space.Type != string(zfs.KindFilesystem) {
		t.Errorf("%+v, %v", space, err)
	}
}

func TestPools(t *testing.T) {
	pool := zfstest.New(t, 128<<20, zfs.Config{})
	ctx := t.Context()
	info, err := pool.Pool(ctx, pool.Name)
	if err != nil || info.Name != pool.Name.String() || info.Health != zfs.HealthOnline || info.GUID == 0 || info.Size < 64<<20 {
		t.Errorf("%+v, %v", info, err)
	}
	status, err := pool.Status(ctx, pool.Name)
	if err != nil || status.State != zfs.HealthOnline || len(status.Devices) != 1 || status.Devices[0].State != zfs.HealthOnline {
		t.Errorf("%+v, %v", status, err)
	}
	wantError(t, pool.CreatePool(ctx, zfs.PoolSpec{Name: zfstest.Name(t), Devices: []string{pool.Device.Path}}), zfs.ErrBusy)
	must(t, pool.Sync(ctx, pool.Name))

	// Growing: the file, the loop device, the pool.
	must(t, os.Truncate(pool.File, 256<<20))
	must(t, pool.Device.Resize())
	must(t, pool.ExpandDevice(ctx, pool.Name, pool.Device.Path))
	grown, err := pool.Pool(ctx, pool.Name)
	if err != nil || grown.Size <= info.Size {
		t.Errorf("grown from %d to %d, %v", info.Size, grown.Size, err)
	}

	must(t, pool.Export(ctx, pool.Name))
	_, err = pool.Pool(ctx, pool.Name)
	wantError(t, err, zfs.ErrNoSuchPool)
	list, err := pool.ListImportable(ctx, pool.Device.Path)
	if err != nil || len(list) != 1 || list[0].GUID != info.GUID || list[0].State != zfs.HealthOnline {
		t.Errorf("%+v, %v", list, err)
	}
	wantError(t, pool.Import(ctx, zfs.ImportSpec{Devices: []string{pool.Device.Path}, GUID: 4711}), zfs.ErrNoSuchPool)
	must(t, pool.Import(ctx, zfs.ImportSpec{Devices: []string{pool.Device.Path}, GUID: info.GUID}))
	wantError(t, pool.Import(ctx, zfs.ImportSpec{Devices: []string{pool.Device.Path}, Name: pool.Name}), zfs.ErrExists)
	all, err := pool.Pools(ctx)
	if err != nil || len(all) == 0 {
		t.Errorf("%+v, %v", all, err)
	}
	must(t, pool.DestroyPool(ctx, pool.Name))
	empty, err := pool.ListImportable(ctx, pool.Device.Path)
	if err != nil || len(empty) != 0 {
		t.Errorf("%+v, %v", empty, err)
	}
}

// TestLoopOverADevice: somebody else's loop device over the same disk is not taken for
// ours, and ours is found by the disk, whatever its node is called.
func TestLoopOverADevice(t *testing.T) {
	_, disk := zfstest.Loop(t, 64<<20)
	f, err := os.OpenFile(disk.Path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	var others []loop.Device
	for range 2 { // one below ours, one above
		out, err := exec.CommandContext(t.Context(), "losetup", "--show", "-f", disk.Path).Output()
		must(t, err)
		other := loop.Device{Path: strings.TrimSpace(string(out))}
		others = append(others, other)
		t.Cleanup(func() { must(t, other.Detach(context.Background())) })
		if len(others) == 1 {
			_, err := loop.Find(f)
			wantError(t, err, loop.ErrNotFound)
		}
		device, err := loop.Attach(t.Context(), f)
		must(t, err)
		if slices.Contains(others, device) {
			t.Errorf("%v is another's", device)
		}
	}
	node := filepath.Join(t.TempDir(), "disk")
	var stat unix.Stat_t
	must(t, unix.Stat(disk.Path, &stat))
	must(t, unix.Mknod(node, unix.S_IFBLK|0o600, int(stat.Rdev)))
	g, err := os.OpenFile(node, os.O_RDWR, 0)
	must(t, err)
	defer g.Close()
	device, err := loop.Find(g)
	must(t, err)
	if slices.Contains(others, device) {
		t.Errorf("%v is another's", device)
	}
	must(t, device.Detach(t.Context()))
	_, err = loop.Find(f)
	wantError(t, err, loop.ErrNotFound)
}

func TestLoop(t *testing.T) {
	path, device := zfstest.Loop(t, 64<<20)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	for range 2 {
		if again, err := loop.Attach(t.Context(), f); err != nil || again != device {
			t.Errorf("a second attach gave %v, %v; want %v", again, err, device)
		}
	}
	if found, err := loop.Find(f); err != nil || found != device {
		t.Errorf("Find = %v, %v", found, err)
	}
	holder, err := os.Open(device.Path)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	wantError(t, device.Detach(ctx), loop.ErrBusy)
	must(t, holder.Close())
	must(t, device.Detach(t.Context()))
	_, err = loop.Find(f)
	wantError(t, err, loop.ErrNotFound)
}
