//go:build zfs

package server_test

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// picture is what registry and pool hold.
func (m *machine) picture(t *testing.T) []string {
	t.Helper()
	there := m.zfsTells(t, "list", "-H", "-p", "-t", "all", "-r", "-o", "name,guid,createtxg,origin,readonly,mounted")
	set := m.zfsTells(t, "get", "-H", "-p", "-r", "-s", "local", "-o", "name,property,value", "all")
	return slices.Concat(m.keys(t), there, set)
}

// zfsTells gives the lines of what a zfs command says of the pool.
func (m *machine) zfsTells(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "zfs", append(args, m.pool.Root().String())...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(out), "\n")
}

// keys is every key of the registry but the lease's, with its value.
func (m *machine) keys(t *testing.T) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m.registry(ctx) // opens m.store
	var lines []string
	for _, kind := range []store.Kind{
		store.KindDots, store.KindNames, store.KindBranches, store.KindBranchIDs, store.KindEpochs, store.KindCommits, store.KindVolumes, store.KindIntents,
		store.KindSnapshots, store.KindPools, store.KindAssignments, store.KindReplicas, store.KindDeleted, store.KindUsers,
	} {
		now, ok := <-m.store.Watch(ctx, store.Of(kind), 0)
		if !ok || !now.Resync {
			t.Fatalf("the registry cannot be read: %v, %v", now, ctx.Err())
		}
		for _, e := range now.Now {
			lines = append(lines, e.Key.String()+" "+string(e.Value))
		}
	}
	return lines
}

// changed tells in what two pictures differ.
func changed(before, after []string) string {
	var all []string
	for _, l := range before {
		if !slices.Contains(after, l) {
			all = append(all, "- "+l)
		}
	}
	for _, l := range after {
		if !slices.Contains(before, l) {
			all = append(all, "+ "+l)
		}
	}
	return strings.Join(all, "\n")
}

// refusal is a call that is to be refused. says is part of the reason.
type refusal struct {
	what string
	call func(r *running) error
	code dot.Code
	says string
}

func creating(req *v1.CreateVolumeRequest, change func(*v1.CreateVolumeRequest)) func(*running) error {
	change(req)
	return func(r *running) error { return onlyError(call(r.Volumes.CreateVolume, req)) }
}

func snapshotting(name, volume, message string, metadata map[string]string) func(*running) error {
	return func(r *running) error {
		return onlyError(call(r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: name, Volume: volume, Message: message, Metadata: metadata}))
	}
}

func expanding(volume string, required, limit int64) func(*running) error {
	return func(r *running) error {
		return onlyError(call(r.Volumes.ExpandVolume, &v1.ExpandVolumeRequest{Volume: volume, RequiredBytes: required, LimitBytes: limit}))
	}
}

// TestARefusalLeavesNoTrace makes every request that is refused and looks whether
// registry and pool are what they were, to the byte.
func TestARefusalLeavesNoTrace(t *testing.T) {
	m := newMachine(t)
	r := m.start(nil)
	must(t, r.Volumes.CreateVolume, part("a", ""))
	must(t, r.Volumes.CreateVolume, pvc("b"))
	handle := must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s", Volume: volumeID("a")}).Snapshot.Handle
	whole, inside := pvc("whole"), pvc("inside")
	whole.DotName, whole.Subdot, whole.RequiredBytes = "rooted", "__root__", 64*mib
	inside.DotName, inside.Subdot, inside.RequiredBytes = "rooted", "x", 48*mib
	reader := pvc("reader")
	reader.SourceSnapshot, reader.ReadOnly, reader.DotName = handle, true, "readonly"
	for _, req := range []*v1.CreateVolumeRequest{whole, inside, reader} {
		must(t, r.Volumes.CreateVolume, req)
	}
	must(t, r.Dots.CreateDot, &v1.CreateDotRequest{Dot: "mine"})
	m.settled()

	before := m.picture(t)
	if again := changed(before, m.picture(t)); again != "" {
		t.Fatalf("what changes by itself cannot be compared:\n%s", again)
	}
	// A command of ZFS's takes long here, so that the pool is looked at after each
	// group; the registry, which every flow writes first, after each refusal.
	for _, group := range [][]refusal{badRequests(), badSources(handle), badTargets(handle), badOthers()} {
		m.refusesAll(t, r, group)
		if trace := changed(before, m.picture(t)); trace != "" {
			t.Errorf("something between %q and %q left a trace:\n%s", group[0].what, group[len(group)-1].what, trace)
		}
	}
	m.settled()
	if trace := changed(before, m.picture(t)); trace != "" {
		t.Errorf("some refusal left work:\n%s", trace)
	}

	// The next start finds nothing to do either.
	r.stop()
	m.start(nil)
	m.settled()
	if trace := changed(withoutPools(before), withoutPools(m.picture(t))); trace != "" {
		t.Errorf("after a restart:\n%s", trace)
	}
}

// refusesAll makes each call and looks whether the registry was written.
func (m *machine) refusesAll(t *testing.T, r *running, refusals []refusal) {
	t.Helper()
	before := m.revision(t)
	for _, c := range refusals {
		err := c.call(r)
		if err == nil || dot.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v (code %d), want code %d with %q", c.what, err, dot.CodeOf(err), c.code, c.says)
		}
		if after := m.revision(t); after != before {
			t.Errorf("%s: the refusal made %d changes of the registry", c.what, after-before)
			before = after
		}
	}
}

// revision is the registry's, which grows with every change; the lease's renewals
// change nothing.
func (m *machine) revision(t *testing.T) int64 {
	t.Helper()
	revision, err := m.store.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// withoutPools leaves out what a server tells of itself when it starts.
func withoutPools(picture []string) []string {
	return slices.DeleteFunc(slices.Clone(picture), func(l string) bool { return strings.HasPrefix(l, string(store.KindPools)+"/") })
}

// badRequests are wrong in themselves.
func badRequests() []refusal {
	var all []refusal
	add := func(what string, code dot.Code, says string, change func(*v1.CreateVolumeRequest)) {
		all = append(all, refusal{what, creating(pvc("new"), change), code, says})
	}
	add("no name", dot.CodeInvalid, "name is missing", func(q *v1.CreateVolumeRequest) { q.CsiName = "" })
	add("a name of 129 bytes", dot.CodeInvalid, "129 bytes", func(q *v1.CreateVolumeRequest) { q.CsiName = strings.Repeat("é", 64) + "x" })
	add("a control character", dot.CodeInvalid, "control characters", func(q *v1.CreateVolumeRequest) { q.CsiName = "a\nb" })
	for _, name := range []string{"../up", "a@b", "a/b", "a b", "ü", strings.Repeat("x", 65), "a.b"} {
		add("dot "+name, dot.CodeInvalid, "dot name", func(q *v1.CreateVolumeRequest) { q.DotName = name })
		add("namespace "+name, dot.CodeInvalid, "namespace", func(q *v1.CreateVolumeRequest) { q.DotNamespace = name })
		add("subdot "+name, dot.CodeInvalid, "subdot", func(q *v1.CreateVolumeRequest) { q.Subdot = name })
	}
	add("a reserved subdot", dot.CodeInvalid, "reserved", func(q *v1.CreateVolumeRequest) { q.Subdot = "__mine__" })
	add("subdot ..", dot.CodeInvalid, "subdot", func(q *v1.CreateVolumeRequest) { q.Subdot = ".." })
	add("branch a@b", dot.CodeInvalid, "branch", func(q *v1.CreateVolumeRequest) { q.Branch = "a@b" })
	add("a new dot's other branch", dot.CodeInvalid, "begins with the branch", func(q *v1.CreateVolumeRequest) { q.Branch = "other" })
	add("unknown compression", dot.CodeInvalid, "lz5", func(q *v1.CreateVolumeRequest) { q.Compression = "lz5" })
	for _, size := range []string{"0", "256", "3K", "2M", "128k on", "-1"} {
		add("recordsize "+size, dot.CodeInvalid, "recordsize", func(q *v1.CreateVolumeRequest) { q.RecordSize = size })
	}
	add("a negative size", dot.CodeInvalid, "negative", func(q *v1.CreateVolumeRequest) { q.RequiredBytes = -1 })
	add("a negative limit", dot.CodeInvalid, "negative", func(q *v1.CreateVolumeRequest) { q.LimitBytes = -1 })
	add("a limit under the size", dot.CodeOutOfRange, "above the limit", func(q *v1.CreateVolumeRequest) { q.LimitBytes = q.RequiredBytes - 1 })
	add("more than the pool", dot.CodeOutOfRange, "whole pool", func(q *v1.CreateVolumeRequest) { q.RequiredBytes = 1 << 50 })
	add("read-only of nothing", dot.CodeInvalid, "ReadOnlyMany", func(q *v1.CreateVolumeRequest) { q.ReadOnly = true })
	return all
}

// badSources are restores and clones that cannot be; handle is a commit of volume
// a, of 64 MiB.
func badSources(handle string) []refusal {
	var all []refusal
	add := func(what string, code dot.Code, says string, change func(*v1.CreateVolumeRequest)) {
		all = append(all, refusal{what, creating(pvc("new"), change), code, says})
	}
	ofDot, _, _ := strings.Cut(handle, "/")
	for _, h := range []string{"nonsense", "../../x", "a/b/c", ofDot + "/@", dot.NewID().String() + "/" + dot.NewCommitID().String(), ofDot + "/" + dot.NewCommitID().String()} {
		add("snapshot "+h, dot.CodeNotFound, "", func(q *v1.CreateVolumeRequest) { q.SourceSnapshot = h })
	}
	for _, v := range []string{"nonsense", volumeID("never"), "admin/none"} {
		add("volume "+v, dot.CodeNotFound, "", func(q *v1.CreateVolumeRequest) { q.SourceVolume = v })
	}
	add("both sources", dot.CodeInvalid, "both", func(q *v1.CreateVolumeRequest) {
		q.SourceSnapshot, q.SourceVolume = handle, volumeID("a")
	})
	for what, source := range map[string]func(*v1.CreateVolumeRequest){
		"restore": func(q *v1.CreateVolumeRequest) { q.SourceSnapshot = handle },
		"clone":   func(q *v1.CreateVolumeRequest) { q.SourceVolume = volumeID("a") },
	} {
		with := func(more func(*v1.CreateVolumeRequest)) func(*v1.CreateVolumeRequest) {
			return func(q *v1.CreateVolumeRequest) { source(q); more(q) }
		}
		add("a small "+what, dot.CodeOutOfRange, "at least", with(func(q *v1.CreateVolumeRequest) { q.RequiredBytes = 32 * mib }))
		add("a limited "+what, dot.CodeOutOfRange, "at least", with(func(q *v1.CreateVolumeRequest) { q.RequiredBytes, q.LimitBytes = 0, 32*mib }))
		add(what+" across namespaces", dot.CodePermission, "dm dot share admin/shared other", with(func(q *v1.CreateVolumeRequest) { q.KubernetesNamespace = "other" }))
		add(what+" onto a dot", dot.CodePrecondition, "exists already", with(func(q *v1.CreateVolumeRequest) { q.DotName = "shared" }))
		add(what+" onto a dot of dm's", dot.CodePrecondition, "exists already", with(func(q *v1.CreateVolumeRequest) { q.DotName = "mine" }))
		add(what+" with a branch", dot.CodeInvalid, "begins with the branch", with(func(q *v1.CreateVolumeRequest) { q.Branch = "other" }))
		add(what+" into a bad subdot", dot.CodeInvalid, "subdot", with(func(q *v1.CreateVolumeRequest) { q.Subdot = "../x" }))
	}
	return all
}

// badTargets name dots that they may not have, or not so.
func badTargets(handle string) []refusal {
	var all []refusal
	add := func(what, name string, code dot.Code, says string, change func(*v1.CreateVolumeRequest)) {
		req := pvc(name)
		all = append(all, refusal{what, creating(req, change), code, says})
	}
	add("another namespace's dot", "new", dot.CodePermission, "dm dot share admin/shared other", func(q *v1.CreateVolumeRequest) {
		q.DotName, q.KubernetesNamespace = "shared", "other"
	})
	add("nobody's claim on a dot", "new", dot.CodePermission, "dm dot share", func(q *v1.CreateVolumeRequest) {
		q.DotName, q.KubernetesNamespace, q.PvcName, q.PvcUid = "shared", "", "", ""
	})
	add("dm's dot", "new", dot.CodePermission, "made by dm", func(q *v1.CreateVolumeRequest) { q.DotName = "mine" })
	add("a dot that is read-only", "new", dot.CodePrecondition, "read-only", func(q *v1.CreateVolumeRequest) { q.DotName = "readonly" })
	add("a branch that is not there", "new", dot.CodePrecondition, `no branch "other"`, func(q *v1.CreateVolumeRequest) { q.DotName, q.Branch = "shared", "other" })
	add("a root too small", "new", dot.CodePrecondition, "promised", func(q *v1.CreateVolumeRequest) {
		q.DotName, q.Subdot, q.RequiredBytes = "shared", "__root__", 32*mib
	})
	add("a subdot more than its root has left", "new", dot.CodePrecondition, "expand that one first", func(q *v1.CreateVolumeRequest) {
		q.DotName, q.Subdot, q.RequiredBytes = "rooted", "y", 32*mib
	})
	add("the name of another size", "a", dot.CodeExists, "another size", func(q *v1.CreateVolumeRequest) {
		q.DotName, q.RequiredBytes = "shared", 96*mib
	})
	add("the name of another source", "a", dot.CodeExists, "another source", func(q *v1.CreateVolumeRequest) { q.SourceSnapshot = handle })
	add("the name of another claim", "a", dot.CodeExists, "another PersistentVolumeClaim", func(q *v1.CreateVolumeRequest) { q.KubernetesNamespace = "other" })
	add("the name of another access mode", "reader", dot.CodeExists, "another access mode", func(q *v1.CreateVolumeRequest) {
		q.SourceSnapshot, q.DotName = handle, "readonly"
	})
	return all
}

// badOthers are snapshots and expansions.
func badOthers() []refusal {
	large := map[string]string{}
	for i := range 100 {
		large[fmt.Sprintf("key%d", i)] = strings.Repeat("v", 100)
	}
	a := volumeID("a")
	return []refusal{
		{"a snapshot without a name", snapshotting("", a, "", nil), dot.CodeInvalid, "name is missing"},
		{"a snapshot's long name", snapshotting(strings.Repeat("x", 129), a, "", nil), dot.CodeInvalid, "129 bytes"},
		{"a snapshot's control character", snapshotting("a\x7fb", a, "", nil), dot.CodeInvalid, "control characters"},
		{"a snapshot of nothing", snapshotting("new", "", "", nil), dot.CodeInvalid, "missing"},
		{"a snapshot of nonsense", snapshotting("new", "../x", "", nil), dot.CodeNotFound, "does not exist"},
		{"a snapshot of no volume", snapshotting("new", volumeID("never"), "", nil), dot.CodeNotFound, "does not exist"},
		{"a long message", snapshotting("new", a, strings.Repeat("m", 8192), nil), dot.CodeInvalid, "8192 bytes"},
		{"much metadata", snapshotting("new", a, "", large), dot.CodeInvalid, "metadata takes"},
		{"a bad key", snapshotting("new", a, "", map[string]string{"No": "x"}), dot.CodeInvalid, "metadata key"},
		{"a snapshot's name of another volume", snapshotting("s", volumeID("b"), "", nil), dot.CodeExists, "another volume"},
		{"an expansion of no volume", expanding(volumeID("never"), 96*mib, 0), dot.CodeNotFound, "does not exist"},
		{"an expansion to a negative size", expanding(a, -1, 0), dot.CodeInvalid, "negative"},
		{"an expansion beyond its limit", expanding(a, 96*mib, 95*mib), dot.CodeOutOfRange, "above the limit"},
		{"an expansion to less", expanding(a, 0, 32*mib), dot.CodeOutOfRange, "never shrink"},
		{"an expansion beyond the pool", expanding(a, 1<<50, 0), dot.CodeOutOfRange, "whole pool"},
		{"an expansion beyond the root", expanding(volumeID("inside"), 96*mib, 0), dot.CodePrecondition, "expand that one first"},
		{"an expansion of what is read-only", expanding(volumeID("reader"), 96*mib, 0), dot.CodePrecondition, "read-only"},
	}
}
