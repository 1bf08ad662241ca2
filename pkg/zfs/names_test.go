package zfs

import (
	"errors"
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/names"
)

func TestParseDataset(t *testing.T) {
	long := "p/" + strings.Repeat("x", 253)
	for _, good := range []string{"pool", "pool/a", "pool/a/b-c_d.e:f", "p0", "pool/0a", long} {
		d, err := ParseDataset(good)
		if err != nil || d.String() != good {
			t.Errorf("ParseDataset(%q) = %q, %v", good, d, err)
		}
	}
	for _, bad := range []string{
		"", "/", "pool/", "/pool", "pool//a", "pool/.", "pool/..", "pool/../x", "..", "-pool", "pool/-a",
		"pool/a@b", "pool/a#b", "pool a", "pool/a b", "pool/%recv", "pool/a\n", "pool/a\x00", "pool/ä", "1pool",
		"mirror", "mirror-x", "raidz1", "draid2", "spare", "log", "c0t0d0", "pool/a,b", "pool/a'b", "pool/$(x)", long + "x",
	} {
		if d, err := ParseDataset(bad); !errors.Is(err, ErrInvalidName) {
			t.Errorf("ParseDataset(%q) = %q, %v; want ErrInvalidName", bad, d, err)
		}
	}
}

func TestDatasetParts(t *testing.T) {
	d, err := ParseDataset("pool/a/b")
	if err != nil {
		t.Fatal(err)
	}
	parent, ok := d.Parent()
	if !ok || parent.String() != "pool/a" || d.Base() != "b" || d.Pool().String() != "pool" {
		t.Errorf("parts of %s: %s %s %s", d, parent, d.Base(), d.Pool())
	}
	if _, ok := d.Pool().Root().Parent(); ok {
		t.Error("a pool's root has a parent")
	}
	child, err := d.Child("c")
	if err != nil || child.String() != "pool/a/b/c" {
		t.Errorf("Child = %s, %v", child, err)
	}
	if !d.Contains(child) || !d.Contains(d) || child.Contains(d) || parent.Contains(Dataset{"pool/ab"}) {
		t.Error("Contains is wrong")
	}
	for _, bad := range []string{"", "x/y", "..", "-r", "a@b", " "} {
		if _, err := d.Child(bad); !errors.Is(err, ErrInvalidName) {
			t.Errorf("Child(%q): %v", bad, err)
		}
	}
	if _, err := (Dataset{}).Child("x"); !errors.Is(err, ErrInvalidName) {
		t.Errorf("child of nothing: %v", err)
	}
}

func TestSnapshotNames(t *testing.T) {
	a := Dataset{"pool/a"}
	s, err := a.Snapshot("b")
	if err != nil || s.String() != "pool/a@b" || s.Dataset() != a || s.Name() != "b" {
		t.Errorf("Snapshot = %v, %v", s, err)
	}
	d := Dataset{"pool/" + strings.Repeat("x", 200)}
	if _, err := d.Snapshot(strings.Repeat("y", 49)); err != nil {
		t.Errorf("255 bytes: %v", err)
	}
	if _, err := d.Snapshot(strings.Repeat("y", 50)); !errors.Is(err, ErrInvalidName) {
		t.Errorf("256 bytes: %v", err)
	}
	for _, bad := range []string{"", "a@b", "a#b", "a/b", "-x", "a b", "a%b"} {
		if _, err := a.Snapshot(bad); !errors.Is(err, ErrInvalidName) {
			t.Errorf("Snapshot(%q): %v", bad, err)
		}
		if _, err := a.Bookmark(bad); !errors.Is(err, ErrInvalidName) {
			t.Errorf("Bookmark(%q): %v", bad, err)
		}
	}
	if _, err := (Dataset{}).Snapshot("x"); !errors.Is(err, ErrInvalidName) {
		t.Errorf("snapshot of nothing: %v", err)
	}
	b, err := a.Bookmark("b")
	if err != nil || b.String() != "pool/a#b" {
		t.Errorf("Bookmark = %v, %v", b, err)
	}
	if (Snapshot{}).String() != "" || !(Snapshot{}).IsZero() || (Bookmark{}).String() != "" {
		t.Error("zero values have names")
	}
}

func TestPropsCheck(t *testing.T) {
	for _, test := range []struct {
		props Props
		want  error
	}{
		{Props{"io.dotmesh:x": "y", "compression": "lz4", "projectquota@7": "1"}, nil},
		{Props{"io.dotmesh:x": strings.Repeat("v", MaxValue)}, nil},
		{Props{"io.dotmesh:x": strings.Repeat("v", MaxValue+1)}, ErrInvalidValue},
		{Props{"io.dotmesh:x": "a\tb"}, ErrInvalidValue},
		{Props{"io.dotmesh:x": "a\nb"}, ErrInvalidValue},
		{Props{"io.dotmesh:x": "a\x00"}, ErrInvalidValue},
		{Props{"io.dotmesh:x": "ünïcode ✓"}, nil},
		{Props{"": "x"}, ErrInvalidName},
		{Props{"-o": "x"}, ErrInvalidName},
		{Props{"a=b": "x"}, ErrInvalidName},
		{Props{"a b": "x"}, ErrInvalidName},
		{Props{"A:b": "x"}, ErrInvalidName},
		{Props{"a,b": "x"}, ErrInvalidName},
	} {
		if got := test.props.Check(); !errors.Is(got, test.want) {
			t.Errorf("%.60v: %v, want %v", test.props, got, test.want)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, seed := range []string{"pool", "pool/a", "pool/a@b", "pool/a#b", "-x", "pool/../x", "pool/a b@c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		hostile := func(name string) bool {
			return name == "" || len(name) > names.Max || name[0] == '-' || strings.Contains(name, "..") && strings.Contains(name, "/../") ||
				strings.ContainsAny(name, " \t\n\x00%,$'\"\\;|&") || strings.Contains(name, "//") || strings.Contains(name, "/-")
		}
		if d, err := ParseDataset(s); err == nil && (d.String() != s || hostile(s) || strings.ContainsAny(s, "@#")) {
			t.Errorf("dataset %q", s)
		}
		a := Dataset{"pool/a"}
		if snap, err := a.Snapshot(s); err == nil && (snap.Name() != s || hostile(snap.String()) || strings.ContainsAny(s, "@#/")) {
			t.Errorf("snapshot %q", s)
		}
		if b, err := a.Bookmark(s); err == nil && (b.Name() != s || hostile(b.String()) || strings.ContainsAny(s, "@#/")) {
			t.Errorf("bookmark %q", s)
		}
	})
}
