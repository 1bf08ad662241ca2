package engine

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// local gives properties the source that `zfs set` does.
func local(props zfs.Props) zfs.Values {
	values := zfs.Values{}
	for p, v := range props {
		values[p] = zfs.Value{Value: v, Source: zfs.SourceLocal}
	}
	return values
}

func sampleDot() dot.Dot {
	v := dot.VolumeIDOf("pvc-1")
	return dot.Dot{
		ID:        dot.IDOf(v),
		FullName:  dot.FullName{Namespace: dot.DefaultNamespace, Name: must(dot.ParseName("Orders"))},
		State:     dot.Ready,
		MadeByPVC: true,
		Owner:     "shop",
		Shares:    dot.Shares{Namespaces: []string{"stage", "test"}},
		Settings:  dot.Settings{Compression: must(dot.ParseCompression("lz4")), RecordSize: 16384},
		Subdots: map[dot.Subdot]dot.SubdotRecord{
			dot.DefaultSubdot:             {ProjectID: 1 << 20, MadeByClaim: true},
			must(dot.ParseSubdot("Logs")): {ProjectID: 1<<20 + 1},
			dot.RootSubdot:                {},
		},
		Released: true,
		Created:  time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC),
	}
}

func sampleBranch(d dot.Dot) dot.Branch {
	return dot.Branch{
		ID: dot.NewBranchID(), Dot: d.ID, Name: dot.MasterBranch, State: dot.Ready,
		Origin: &dot.Origin{Branch: dot.NewBranchID(), Commit: dot.NewCommitID(), Sequence: 7},
		Master: dot.PoolIDOf(12345678901234567890), Epoch: dot.Epoch{Incarnation: 2, Number: 7},
		ReadOnly: true, Hidden: true, Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

func sampleVolume(d dot.Dot, b dot.Branch) dot.Volume {
	return dot.Volume{
		ID: dot.VolumeIDOf("pvc-1"), CSIName: "pvc-1 ☃ \x7f\n", State: dot.Ready, Dot: d.ID, Branch: b.ID,
		Subdot: dot.DefaultSubdot, SizeBytes: 1 << 30, KubernetesNamespace: "shop", PVCName: "orders.data",
		ReadOnly: true, Source: &dot.SnapshotHandle{Dot: d.ID, Commit: dot.NewCommitID()},
		SourceVolume: dot.VolumeIDOf("pvc-0"), NewDot: true, Created: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
	}
}

func sampleCommit(d dot.Dot, b dot.Branch) dot.Commit {
	return dot.Commit{
		ID: must(dot.ParseCommitID("clone-" + dot.NewCommitID().String())), Dot: d.ID, Branch: b.ID, Epoch: b.Epoch, GUID: 77, Sequence: 3,
		Author: "ann", Message: "two lines\nand a \ttab, \x7f and \"quotes\"", Time: time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC),
		Metadata: dot.Metadata{"build.id": "17", "note": "<&> ü \x7f"}, Parent: dot.NewCommitID(),
		CSIName: "snapshot-☃", Volume: dot.VolumeIDOf("pvc-1"), Subdot: dot.DefaultSubdot, SizeBytes: 5, Tags: []string{"v1", "v2"},
	}
}

func TestBranchPropertiesRoundTrip(t *testing.T) {
	d := sampleDot()
	b := sampleBranch(d)
	v := sampleVolume(d, b)
	props, err := BranchSpec{Dot: d, Branch: b, Volumes: []dot.Volume{v}}.props()
	if err != nil {
		t.Fatal(err)
	}
	if err := props.Check(); err != nil {
		t.Fatal(err)
	}
	gotDot, gotBranch, gotVolumes, err := decodeBranch(local(props))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(gotDot, d) {
		t.Errorf("dot: got %+v, want %+v", gotDot, d)
	}
	if !reflect.DeepEqual(gotBranch, b) {
		t.Errorf("branch: got %+v, want %+v", gotBranch, b)
	}
	if want := []dot.Volume{v}; !reflect.DeepEqual(gotVolumes, want) {
		t.Errorf("volumes: got %+v, want %+v", gotVolumes, want)
	}
}

func TestCommitPropertiesRoundTrip(t *testing.T) {
	d := sampleDot()
	want := sampleCommit(d, sampleBranch(d))
	props, err := encodeCommit(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := props.Check(); err != nil {
		t.Fatal(err)
	}
	got, deleted, err := decodeCommit(want.ID.String(), 77, local(props))
	if err != nil || deleted {
		t.Fatalf("got %v, %v", deleted, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// What is not asked for by name is not read back.
func TestListingReadsAllThatACommitHas(t *testing.T) {
	d := sampleDot()
	for p := range must(encodeCommit(sampleCommit(d, sampleBranch(d)))) {
		if !slices.Contains(commitProperties(), p) {
			t.Errorf("%s is written and not listed", p)
		}
	}
}

func TestOnlyLocalPropertiesCount(t *testing.T) {
	d := sampleDot()
	props, err := encodeCommit(sampleCommit(d, sampleBranch(d)))
	if err != nil {
		t.Fatal(err)
	}
	values := local(props)
	for p, v := range values {
		v.Source = zfs.SourceInherited
		values[p] = v
	}
	if _, _, err := decodeCommit("c", 1, values); err == nil {
		t.Error("inherited properties were read as a commit's")
	}
	if isOurs(values) {
		t.Error("inherited properties made an item ours")
	}
}

func TestTooLargeIsRefused(t *testing.T) {
	d := sampleDot()
	c := sampleCommit(d, sampleBranch(d))
	c.Message = strings.Repeat("m", dot.MaxProperty)
	if err := CheckCommit(c); err != nil {
		t.Errorf("a message of %d bytes: %v", len(c.Message), err)
	}
	for name, change := range map[string]func(*dot.Commit){
		"long message":    func(c *dot.Commit) { c.Message += "m" },
		"escaped message": func(c *dot.Commit) { c.Message = strings.Repeat("\n", dot.MaxProperty/2) },
		"metadata":        func(c *dot.Commit) { c.Metadata = dot.Metadata{"a": strings.Repeat("\x7f", 2000)} },
		"metadata key":    func(c *dot.Commit) { c.Metadata = dot.Metadata{"A": "x"} },
		"invalid UTF-8":   func(c *dot.Commit) { c.Message = "\xff" },
		"tags":            func(c *dot.Commit) { c.Tags = []string{strings.Repeat("t", dot.MaxProperty)} },
	} {
		bad := c
		change(&bad)
		if err := CheckCommit(bad); dot.CodeOf(err) != dot.CodeInvalid {
			t.Errorf("%s: got %v, want CodeInvalid", name, err)
		}
	}
}

func TestQuotasOfAClone(t *testing.T) {
	d := sampleDot()
	b := sampleBranch(d)
	v := sampleVolume(d, b)
	larger := v
	larger.ID, larger.SizeBytes = dot.VolumeIDOf("pvc-2"), v.SizeBytes+1
	spec := BranchSpec{Dot: d, Branch: b, Volumes: []dot.Volume{v, larger}, From: &CommitRef{}}
	props := must(spec.props())
	for p, want := range map[zfs.Property]string{
		"projectquota@1048576": "1073741825", // the larger of two claims
		"projectquota@1048577": "none",       // nobody claims it in the clone
	} {
		if got := props[p]; got != want {
			t.Errorf("%s: got %q, want %q", p, got, want)
		}
	}
	if got, ok := props[zfs.PropRefquota]; ok {
		t.Errorf("refquota: got %q, want none: a clone has none of its own", got)
	}
	spec.Volumes[0].Subdot = must(dot.ParseSubdot("unknown"))
	if _, err := spec.props(); err == nil {
		t.Error("a subdot without project id was accepted")
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "-", "\"", "a\tb", "\x7f", "plain", " padded ", "\u2028", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		value, err := encodeText(s)
		if !utf8.ValidString(s) {
			if err == nil {
				t.Errorf("%q was accepted", s)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(value) <= dot.MaxProperty {
			if err := (zfs.Props{propMessage: value}).Check(); err != nil {
				t.Error(err)
			}
		}
		if value == unsetInListing || value != strings.TrimSpace(value) {
			t.Errorf("%q is stored as %q", s, value)
		}
		if got, err := decodeText(value); err != nil || got != s {
			t.Errorf("got %q, %v, want %q", got, err, s)
		}
	})
}

func FuzzDecode(f *testing.F) {
	d := sampleDot()
	b := sampleBranch(d)
	v := sampleVolume(d, b)
	branch := must(BranchSpec{Dot: d, Branch: b, Volumes: []dot.Volume{v}}.props())
	for p, value := range branch {
		f.Add(string(p), value)
	}
	commit := must(encodeCommit(sampleCommit(d, b)))
	for p, value := range commit {
		f.Add(string(p), value)
	}
	f.Fuzz(func(t *testing.T, p, value string) {
		values := local(branch)
		values[zfs.Property(p)] = zfs.Value{Value: value, Source: zfs.SourceLocal}
		gotDot, gotBranch, gotVolumes, err := decodeBranch(values)
		if err == nil {
			again, err := BranchSpec{Dot: gotDot, Branch: gotBranch}.props()
			if err != nil && dot.CodeOf(err) != dot.CodeInvalid {
				t.Errorf("%+v was read and cannot be written: %v", gotDot, err)
			}
			_ = again
			for _, v := range gotVolumes {
				if v.ID.IsZero() {
					t.Errorf("a volume without id from %q", p)
				}
			}
		}
		values = local(commit)
		values[zfs.Property(p)] = zfs.Value{Value: value, Source: zfs.SourceLocal}
		_, _, _ = decodeCommit("c", 1, values)
	})
}
