package zfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// captured is the output of a real command (OpenZFS 2.1.11).
func captured(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParseItems(t *testing.T) {
	items, err := parseItems(captured(t, "stdout/list-all.txt"))
	if err != nil {
		t.Fatal(err)
	}
	find := func(name string) Item {
		i := slices.IndexFunc(items, func(i Item) bool { return i.Target().String() == name })
		if i < 0 {
			t.Fatalf("no %s", name)
		}
		return items[i]
	}
	fs, snap, bookmark, clone := find("capt/fs"), find("capt/fs@s9"), find("capt/fs#b1"), find("capt/cl")
	if fs.Kind != KindFilesystem || snap.Kind != KindSnapshot || bookmark.Kind != KindBookmark {
		t.Errorf("kinds: %s %s %s", fs.Kind, snap.Kind, bookmark.Kind)
	}
	if bookmark.GUID != find("capt/fs@s1").GUID || bookmark.GUID == 0 {
		t.Error("a bookmark has its snapshot's GUID")
	}
	if value, local := fs.Values.Local("io.dotmesh:meta"); !local || value != `{"a":"tab\\t"}` {
		t.Errorf("meta = %q %v", value, local)
	}
	if value, local := snap.Values.Local("io.dotmesh:seq"); !local || value != "1" {
		t.Errorf("seq = %q %v", value, local)
	}
	if _, ok := snap.Values["io.dotmesh:x"]; ok {
		t.Error("an inherited property was listed")
	}
	if clone.Values[PropOrigin].Value != "capt/fs@s1" {
		t.Errorf("origin = %q", clone.Values[PropOrigin].Value)
	}
	if !slices.IsSortedFunc(items, func(a, b Item) int { return int(a.CreateTXG) - int(b.CreateTXG) }) {
		t.Error("not in the order of createtxg")
	}
}

func TestParseItemsWithSources(t *testing.T) {
	items, err := parseItems(captured(t, "stdout/list-some.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		value, ok := item.Values["io.dotmesh:x"]
		switch item.Target().String() {
		case "capt/fs":
			if value != (Value{"parent", SourceLocal, ""}) {
				t.Errorf("fs: %+v", value)
			}
		case "capt/fs@s9":
			if value != (Value{"parent", SourceInherited, "capt/fs"}) {
				t.Errorf("snapshot: %+v", value)
			}
		case "capt/other":
			if ok {
				t.Errorf("unset property: %+v", value)
			}
		}
	}
}

func TestParseItemsLeavesForeignNamesOut(t *testing.T) {
	lines := ""
	for _, name := range []string{"p/a b", "p/a/%recv", "p/good", "p/good@with space"} {
		lines += name + "\ttype\tfilesystem\t-\n" + name + "\tguid\t7\t-\n" + name + "\tcreatetxg\t8\t-\n"
	}
	items, err := parseItems(lines)
	if err != nil || len(items) != 1 || items[0].Dataset.String() != "p/good" {
		t.Errorf("%v, %v", items, err)
	}
	for _, bad := range []string{"x", "p/a\ttype\n", "p/a\ttype\tfilesystem\tfoo\n", "p/a\ttype\tfilesystem\t-\n", "p/a\tguid\t7\t-\n"} {
		if _, err := parseItems(bad); !errors.Is(err, ErrUnexpectedOutput) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestValueWithTabKeepsItsSource(t *testing.T) {
	err := eachProperty("p\tio.x:y\ta\tb\tlocal\n", func(_ string, _ Property, v Value) error {
		if v != (Value{"a\tb", SourceLocal, ""}) {
			t.Errorf("%+v", v)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestParsePools(t *testing.T) {
	pools, err := parsePools(captured(t, "stdout/zpool-list.txt"))
	if err != nil || len(pools) != 1 {
		t.Fatalf("%v, %v", pools, err)
	}
	p := pools[0]
	if p.Name != "capt" || p.GUID == 0 || p.Health != HealthOnline || p.Size < 200<<20 || p.Allocated == 0 || p.Free == 0 || p.DedupRatio != 1 || p.ReadOnly || !p.Multihost {
		t.Errorf("%+v", p)
	}
	if pools, err := parsePools("no pools available\n"); err != nil || len(pools) != 0 {
		t.Errorf("%v, %v", pools, err)
	}
}

func TestParseImportable(t *testing.T) {
	pools, err := parseImportable(captured(t, "stdout/import-list.txt"))
	if err != nil || len(pools) != 1 || pools[0].Name != "capt" || pools[0].GUID == 0 || pools[0].State != "ONLINE" || pools[0].Foreign {
		t.Errorf("%+v, %v", pools, err)
	}
	pools, err = parseImportable(captured(t, "stdout/import-foreign-list.txt"))
	if err != nil || len(pools) != 1 || !pools[0].Foreign {
		t.Errorf("%+v, %v", pools, err)
	}
	if pools, err := parseImportable(""); err != nil || len(pools) != 0 {
		t.Errorf("%v, %v", pools, err)
	}
}

func TestParseStatus(t *testing.T) {
	s, err := parseStatus(captured(t, "stdout/zpool-status.txt"))
	if err != nil || s.State != HealthOnline || s.Errors != "No known data errors" ||
		len(s.Devices) != 1 || !strings.HasPrefix(s.Devices[0].Path, "/dev/loop") || s.Devices[0].State != HealthOnline {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestParseEstimate(t *testing.T) {
	for _, name := range []string{"stdout/send-estimate.txt", "stdout/send-token-estimate.txt"} {
		if size, err := parseEstimate(captured(t, name)); err != nil || size < 1<<20 {
			t.Errorf("%s: %d, %v", name, size, err)
		}
	}
}

func TestParseVersion(t *testing.T) {
	first, _, _ := strings.Cut(captured(t, "stdout/version.txt"), "\n")
	for _, text := range []string{first, "zfs-kmod-2.1.11-1+deb12u1", "2.1.11-1+deb12u1\n"} {
		v, err := ParseVersion(text)
		if err != nil || v != (Version{"2.1.11-1+deb12u1", 2, 1}) {
			t.Errorf("%q: %+v, %v", text, v, err)
		}
	}
	for _, bad := range []string{"", "x", "2", "2.x", "-1.2"} {
		if v, err := ParseVersion(bad); !errors.Is(err, ErrUnexpectedOutput) {
			t.Errorf("%q: %+v, %v", bad, v, err)
		}
	}
}

func TestSnapshotArgs(t *testing.T) {
	d := Dataset{"p/a"}
	a, b := Snapshot{d, "a"}, Snapshot{d, "b"}
	argv, err := snapshotArgs([]SnapshotSpec{{a, Props{"io.x:b": "2", "io.x:a": `"]]--`}}, {b, nil}})
	want := []string{"p/a@a", "2", "io.x:a", `"]]--`, "io.x:b", "2", "p/a@b", "0"}
	if err != nil || !slices.Equal(argv, want) {
		t.Errorf("got %q, %v", argv, err)
	}
	full := make([]SnapshotSpec, 50)
	for i := range full {
		full[i] = SnapshotSpec{Snapshot{d, "s" + string(rune('a'+i%26)) + string(rune('a'+i/26))}, Props{"io.x:m": strings.Repeat("m", MaxValue)}}
	}
	if _, err := snapshotArgs(full); err != nil {
		t.Errorf("fifty full ones: %v", err)
	}
	for i := range full {
		full[i].Props = Props{"io.x:a": strings.Repeat("m", MaxValue), "io.x:b": strings.Repeat("m", MaxValue), "io.x:c": strings.Repeat("m", MaxValue)}
	}
	for name, test := range map[string]struct {
		specs []SnapshotSpec
		want  error
	}{
		"too large": {full, ErrTooLarge},
		"twice":     {[]SnapshotSpec{{a, nil}, {a, nil}}, ErrInvalidName},
		"two pools": {[]SnapshotSpec{{a, nil}, {Snapshot{Dataset{"q"}, "a"}, nil}}, ErrInvalidName},
		"native":    {[]SnapshotSpec{{a, Props{"readonly": "on"}}}, ErrInvalidName},
		"nothing":   {[]SnapshotSpec{{}}, ErrInvalidName},
	} {
		if _, err := snapshotArgs(test.specs); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRounds(t *testing.T) {
	var specs []SnapshotSpec
	for _, name := range []string{"p/a@1", "p/b@1", "p/a@2", "p/c@1", "p/a@3", "p/b@2"} {
		path, leaf, _ := strings.Cut(name, "@")
		specs = append(specs, SnapshotSpec{Snapshot: Snapshot{Dataset{path}, leaf}})
	}
	got, want := fmt.Sprint(rounds(specs)), "[[0 1 3] [2 5] [4]]"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseSnapshotResults(t *testing.T) {
	specs := []SnapshotSpec{{Snapshot{Dataset{"p"}, "a"}, nil}, {Snapshot{Dataset{"p"}, "b"}, nil}, {Snapshot{Dataset{"p"}, "c"}, nil}}
	results, err := parseSnapshotResults([]byte(`{"return":{"1":{"errno":0,"guid":-5,"createtxg":9},"2":{"errno":17,"guid":6,"createtxg":7},"3":{"errno":2}}}`), specs)
	if err != nil {
		t.Fatal(err)
	}
	if results[0].GUID != 1<<64-5 || results[0].CreateTXG != 9 || results[0].Err != nil {
		t.Errorf("%+v", results[0])
	}
	if results[1].GUID != 6 || !errors.Is(results[1].Err, ErrExists) || !errors.Is(results[2].Err, ErrNotFound) {
		t.Errorf("%+v %+v", results[1], results[2])
	}
	for _, bad := range []string{"", "{}", `{"return":{"1":{"errno":0}}}`} {
		if _, err := parseSnapshotResults([]byte(bad), specs[:1]); !errors.Is(err, ErrUnexpectedOutput) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzOutput(f *testing.F) {
	for _, name := range []string{"list-some", "zpool-list", "import-list", "import-foreign-list", "zpool-status", "send-estimate"} {
		f.Add(captured(f, "stdout/"+name+".txt"))
	}
	f.Fuzz(func(t *testing.T, out string) {
		items, _ := parseItems(out)
		for _, item := range items {
			if item.Target().IsZero() || strings.ContainsAny(item.Target().String(), " \t\n") {
				t.Errorf("item %+v", item)
			}
		}
		_, _ = parsePools(out)
		_, _ = parseImportable(out)
		_, _ = parseStatus(out)
		_, _ = parseEstimate(out)
		_, _ = ParseVersion(out)
	})
}

func FuzzSnapshotResults(f *testing.F) {
	for _, s := range []string{
		`{"return":{"1":{"errno":0,"guid":-5,"createtxg":9},"2":{"errno":17,"guid":6,"createtxg":7}}}`,
		`{"return":{"1":{"errno":2},"2":{"errno":-1}}}`, `{"return":{"1":{"errno":0},"2":{}}}`, `{"return":[]}`, `{}`, ``,
	} {
		f.Add([]byte(s))
	}
	specs := []SnapshotSpec{{Snapshot{Dataset{"p"}, "a"}, nil}, {Snapshot{Dataset{"p"}, "b"}, nil}}
	f.Fuzz(func(t *testing.T, out []byte) {
		results, err := parseSnapshotResults(out, specs)
		if err != nil {
			if !errors.Is(err, ErrUnexpectedOutput) {
				t.Errorf("got %v, want ErrUnexpectedOutput", err)
			}
			return
		}
		if len(results) != len(specs) {
			t.Fatalf("%d results for %d snapshots", len(results), len(specs))
		}
		for i, r := range results {
			if r.Snapshot != specs[i].Snapshot || r.Err == nil && r.GUID == 0 {
				t.Errorf("result %+v of %s", r, specs[i].Snapshot)
			}
		}
	})
}

func FuzzClassify(f *testing.F) {
	files, err := filepath.Glob("testdata/stderr/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no captured errors: %v", err)
	}
	for _, name := range files {
		f.Add(captured(f, "stderr/"+filepath.Base(name)), "dataset does not exist")
	}
	f.Fuzz(func(t *testing.T, stderr, name string) {
		dependents, kind := classify(stderr)
		if len(dependents) > 0 && !errors.Is(kind, ErrHasClones) && !errors.Is(kind, ErrHasChildren) && !errors.Is(kind, ErrExists) {
			t.Errorf("dependents %q of %v", dependents, kind)
		}
		for _, d := range dependents {
			if d == "" || strings.ContainsAny(d, " \t\n'") {
				t.Errorf("dependent %q", d)
			}
		}
		if strings.ContainsAny(name, "'\n") || strings.Contains(stderr, "'") {
			return
		}
		// A name in a message is none of its words.
		if _, again := classify("cannot open '" + name + "': " + stderr); !errors.Is(again, kind) {
			t.Errorf("%q changes %v to %v", name, kind, again)
		}
	})
}
