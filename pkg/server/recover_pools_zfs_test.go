//go:build zfs

package server_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/server"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/zfstest"
)

const nodeB = "node-b"

// beside is another pool of the same registry, on another node. Its etcd is m's.
func (m *machine) beside() *machine {
	return &machine{
		t: m.t, top: m.top, pool: zfstest.New(m.t, 1<<30, zfs.Config{}), runDir: m.t.TempDir(), secrets: m.secrets,
		files: m.files, etcdDir: m.etcdDir,
	}
}

// configOf is that of the pool's server; leave is what the settings say, "" for no
// settings at all.
func (m *machine) configOf(nodeName, leave string) server.Config {
	m.t.Helper()
	cfg := m.config(nil)
	cfg.NodeName = nodeName
	if leave != "" {
		cfg.SettingsDir = m.t.TempDir()
		set(m.t, cfg, leave)
	}
	return cfg
}

func set(t *testing.T, cfg server.Config, leave string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(cfg.SettingsDir, "recover"), []byte(leave+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// properties are all of the pool that are set on its datasets.
func (m *machine) properties(t *testing.T) string {
	t.Helper()
	items, err := m.pool.List(t.Context(), m.pool.Root(), zfs.ListOptions{Kinds: []zfs.Kind{zfs.KindFilesystem}, Depth: zfs.All})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, i := range items {
		for name := range i.Values {
			if local, ok := i.Values.Local(name); ok {
				lines = append(lines, i.Dataset.String()+" "+string(name)+"="+local)
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestRecoverFromTwoPools loses the registry of two pools, under a pod of each.
func TestRecoverFromTwoPools(t *testing.T) {
	a := newMachine(t)
	b := a.beside()
	ra, rb := a.start(nil), b.startWith(b.configOf(nodeB, ""))
	podA, podB := usedOn(t, ra, "a", node), usedOn(t, rb, "b", nodeB)
	// Both pools come to have a dot of one name: the registry forgets the first.
	must(t, rb.Dots.CreateDot, &v1.CreateDotRequest{Dot: "twice"})
	rb.stop()
	forget(t, a, "twice")
	must(t, ra.Dots.CreateDot, &v1.CreateDotRequest{Dot: "twice"})
	ra.stop()
	a.loseRegistry()

	// Nobody has leave; it comes while a server waits for it.
	a.refuses(a.configOf(node, ""), "start with --recover")
	waiting := a.configOf(node, "false")
	ra = a.launch(waiting)
	a.eventually("a server without leave", func() string { return notReadyBecause(t, ra, `set recover to "true"`) })
	set(t, waiting, "true")
	a.awaitReady(ra)

	// The other pool was left out: it is refused, and its pod goes on.
	before := b.properties(t)
	b.refuses(b.configOf(nodeB, ""), "does not know this pool")
	write(t, podB, "while nobody serves it")
	if after := b.properties(t); after != before {
		t.Errorf("the start that was refused has changed\n%s\nto\n%s", before, after)
	}
	if _, err := call(ra.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("b")}); dot.CodeOf(err) != dot.CodeUnavailable {
		t.Errorf("deleting a volume of the pool that is missing: got %v", err)
	}
	rb = b.startWith(b.configOf(nodeB, "true"))
	bothServe(t, ra, rb, "first")
	var names []string
	for _, d := range must(t, ra.Dots.ListDots, &v1.ListDotsRequest{}).Dots {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	if len(names) != 4 || names[2] != "twice" || !strings.HasPrefix(names[3], "twice-") {
		t.Errorf("the dots are called %q", names)
	}
	rb.stop()
	rb = b.startWith(b.configOf(nodeB, "")) // leave was for once
	rb.stop()
	ra.stop()

	// Both at once, and one has seen a registry that the other has not.
	const incarnation zfs.Property = "io.dotmesh:incarnation"
	if err := b.pool.SetProperties(t.Context(), b.pool.Root(), zfs.Props{incarnation: "9"}); err != nil {
		t.Fatal(err)
	}
	a.loseRegistry()
	ra, rb = a.launch(a.configOf(node, "true")), b.launch(b.configOf(nodeB, "true"))
	a.awaitReady(ra)
	b.awaitReady(rb)
	bothServe(t, ra, rb, "second")
	write(t, podA, "to the end")
	write(t, podB, "to the end")
	for _, m := range []*machine{a, b} {
		values, err := m.pool.Get(t.Context(), m.pool.Root(), incarnation)
		if got, _ := values.Local(incarnation); err != nil || m == b && got != "10" {
			t.Errorf("incarnation: got %q, %v", got, err)
		}
	}
	rb.stop()
	ra.stop()
	ra, rb = a.start(nil), b.startWith(b.configOf(nodeB, ""))
	bothServe(t, ra, rb, "third")
}

// usedOn makes a volume on a node and mounts it, as a pod does.
func usedOn(t *testing.T, r *running, name, on string) string {
	t.Helper()
	req := pvc(name)
	req.PreferredNodes = []string{on}
	must(t, r.Volumes.CreateVolume, req)
	must(t, r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: volumeID(name), Node: on})
	path, _ := mount(t, must(t, r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: volumeID(name), Node: on}))
	write(t, path, "at first")
	return path
}

// bothServe commits a dot of each, lists everything at each, and attaches.
func bothServe(t *testing.T, ra, rb *running, round string) {
	t.Helper()
	for name, r := range map[string]*running{"a": ra, "b": rb} {
		on := map[string]string{"a": node, "b": nodeB}[name]
		must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: round + name, Volume: volumeID(name)})
		must(t, r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: volumeID(name), Node: on})
		must(t, r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: volumeID(name), Node: on})
		if got := len(must(t, r.Volumes.ListVolumes, &v1.ListVolumesRequest{}).Volumes); got != 2 {
			t.Errorf("%s: %d volumes are listed by the server of %s", round, got, name)
		}
	}
	for _, r := range []*running{ra, rb} {
		select {
		case err := <-r.exit:
			t.Fatalf("%s: a server stopped: %v", round, err)
		default:
		}
	}
}

func notReadyBecause(t *testing.T, r *running, why string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := r.Dots.ListDots(ctx, connect.NewRequest(&v1.ListDotsRequest{}))
	switch {
	case err == nil:
		return "it is ready"
	case !strings.Contains(err.Error(), why):
		return err.Error()
	}
	return ""
}

// forget has the registry know nothing of a dot.
func forget(t *testing.T, m *machine, name string) {
	t.Helper()
	m.registry(t.Context())
	full := dot.FullName{Namespace: dot.DefaultNamespace}
	var err error
	if full.Name, err = dot.ParseName(name); err != nil {
		t.Fatal(err)
	}
	id, err := m.store.LookupName(t.Context(), full)
	if err != nil {
		t.Fatal(err)
	}
	branches, err := m.store.ListBranches(t.Context(), id.Value)
	if err != nil {
		t.Fatal(err)
	}
	txn := m.store.Txn().DeleteName(full).DeleteDot(id.Value)
	for _, b := range branches {
		txn.DeleteBranch(b.Value).Delete(store.AssignmentKey(b.Value.Master, b.Value.ID))
	}
	if err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}
