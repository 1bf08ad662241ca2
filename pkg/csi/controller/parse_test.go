package controller

import (
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func pick(t testing.TB, namespace, name, subdot, branch string) choice {
	t.Helper()
	var c choice
	for key, value := range map[string]string{keyNamespace: namespace, keyName: name, keySubdot: subdot, keyBranch: branch} {
		if value == "" {
			continue
		}
		if _, err := c.set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestParseAnnotations(t *testing.T) {
	for name, c := range map[string]struct {
		in      map[string]string
		want    choice
		refused string
	}{
		"none":            {},
		"others":          {in: map[string]string{"volume.kubernetes.io/x": "y", "dotmesh": "z", "dotmeshOther": "?"}},
		"plain":           {in: map[string]string{"dotmeshNamespace": "n", "dotmeshName": "d", "dotmeshSubdot": "s", "dotmeshBranch": "b"}, want: pick(t, "n", "d", "s", "b")},
		"prefixed":        {in: map[string]string{"dotmesh.csi/dotmeshName": "d", "dotmesh.csi/dotmeshSubdot": "__root__"}, want: pick(t, "", "d", "__root__", "")},
		"both agree":      {in: map[string]string{"dotmeshName": "d", "dotmesh.csi/dotmeshName": "d"}, want: pick(t, "", "d", "", "")},
		"both differ":     {in: map[string]string{"dotmeshName": "d", "dotmesh.csi/dotmeshName": "e"}, refused: "remove one"},
		"unknown ours":    {in: map[string]string{"dotmesh.csi/dotmeshNmae": "d"}, refused: `"dotmesh.csi/dotmeshNmae"`},
		"empty":           {in: map[string]string{"dotmeshName": ""}, refused: "annotation dotmeshName"},
		"slash":           {in: map[string]string{"dotmeshName": "a/b"}, refused: `"a/b"`},
		"at":              {in: map[string]string{"dotmeshName": "a@b"}, refused: "not valid"},
		"parent":          {in: map[string]string{"dotmeshSubdot": ".."}, refused: "annotation dotmeshSubdot"},
		"reserved":        {in: map[string]string{"dotmeshSubdot": "__x__"}, refused: "reserved"},
		"long":            {in: map[string]string{"dotmesh.csi/dotmeshNamespace": strings.Repeat("n", 65)}, refused: "annotation dotmesh.csi/dotmeshNamespace"},
		"bad branch":      {in: map[string]string{"dotmeshBranch": "a b"}, refused: "branch name"},
		"generated":       {in: map[string]string{"dotmeshBranch": "master-DIVERGED-20260101T000000Z"}, want: pick(t, "", "", "", "master-DIVERGED-20260101T000000Z")},
		"bad beside good": {in: map[string]string{"dotmeshName": "good", "dotmesh.csi/dotmeshName": "b d"}, refused: "annotation dotmesh.csi/dotmeshName"},
	} {
		got, err := parseAnnotations(c.in)
		check(t, name, err, c.refused)
		if c.refused == "" && got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestParseClassParameters(t *testing.T) {
	lz4, err := dot.ParseCompression("lz4")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		in      map[string]string
		want    classParameters
		refused string
	}{
		"none": {},
		"all": {
			in: map[string]string{
				"dotmeshNamespace": "n", "dotmeshName": "d", "dotmeshSubdot": "s", "dotmeshBranch": "b",
				"compression": "lz4", "recordsize": "16K", "crossNamespace": "true",
				keyPVCName: "claim", keyPVCNamespace: "kube", "csi.storage.k8s.io/pv/name": "pvc-1",
			},
			want: classParameters{
				choice: pick(t, "n", "d", "s", "b"), Settings: dot.Settings{Compression: lz4, RecordSize: 16384},
				CrossNamespace: true, PVCName: "claim", PVCNamespace: "kube",
			},
		},
		"not crossing":  {in: map[string]string{"crossNamespace": "false"}},
		"sidecars'":     {in: map[string]string{"csi.storage.k8s.io/new": "x"}},
		"unknown":       {in: map[string]string{"compresion": "lz4"}, refused: `"compresion"`},
		"case":          {in: map[string]string{"Compression": "lz4"}, refused: `"Compression"`},
		"compression":   {in: map[string]string{"compression": "fast"}, refused: "compression"},
		"recordsize":    {in: map[string]string{"recordsize": "3K"}, refused: "power of two"},
		"cross":         {in: map[string]string{"crossNamespace": "yes"}, refused: "neither"},
		"empty cross":   {in: map[string]string{"crossNamespace": ""}, refused: "neither"},
		"namespace":     {in: map[string]string{"dotmeshNamespace": "a.b"}, refused: "StorageClass parameter dotmeshNamespace"},
		"name alone":    {in: map[string]string{keyPVCName: "claim"}, refused: "together"},
		"claim's space": {in: map[string]string{keyPVCNamespace: "kube"}, refused: "together"},
	} {
		got, err := parseClassParameters(c.in)
		check(t, name, err, c.refused)
		if c.refused == "" && got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestParseSnapshotParameters(t *testing.T) {
	got, err := parseSnapshotParameters(map[string]string{keySnapshotName: "s", keySnapshotNamespace: "kube", keySnapshotContent: "c"})
	if want := (snapshotParameters{Name: "s", Namespace: "kube", Content: "c"}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	m := got.metadata()
	if m["kubernetes.volumesnapshot"] != "s" || m["kubernetes.namespace"] != "kube" || m["kubernetes.volumesnapshotcontent"] != "c" {
		t.Errorf("got metadata %v", m)
	}
	if err := m.Check(); err != nil {
		t.Errorf("a commit cannot hold it: %v", err)
	}
	if m := (snapshotParameters{}).metadata(); len(m) != 0 {
		t.Errorf("got metadata %v of a caller that told nothing", m)
	}
	_, err = parseSnapshotParameters(map[string]string{"speed": "fast"})
	check(t, "unknown", err, `"speed"`)
	_, err = parseSnapshotParameters(map[string]string{keySnapshotName: "s"})
	check(t, "name alone", err, "together")
}

func TestAnnotationsComeBeforeParameters(t *testing.T) {
	got := pick(t, "", "d", "", "").or(pick(t, "n", "other", "s", "b"))
	if want := pick(t, "n", "d", "s", "b"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// check wants a refusal of an invalid argument that says a thing, or none.
func check(t *testing.T, name string, err error, refused string) {
	t.Helper()
	switch {
	case refused == "" && err != nil:
		t.Errorf("%s: %v", name, err)
	case refused != "" && err == nil:
		t.Errorf("%s: was accepted, want a refusal with %q", name, refused)
	case refused != "" && (dot.CodeOf(err) != dot.CodeInvalid || !strings.Contains(err.Error(), refused)):
		t.Errorf("%s: got %v, want a refusal with %q", name, err, refused)
	}
}

func FuzzParseAnnotations(f *testing.F) {
	f.Add("dotmeshName", "d", "dotmesh.csi/dotmeshName", "d")
	f.Add("dotmeshSubdot", "__root__", "dotmeshBranch", "master")
	f.Add("dotmesh.csi/", "", "x", "\xff")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		c, err := parseAnnotations(map[string]string{k1: v1, k2: v2})
		if err != nil {
			if dot.CodeOf(err) != dot.CodeInvalid || c != (choice{}) {
				t.Errorf("got %+v, %v", c, err)
			}
			return
		}
		safe(t, c)
	})
}

func FuzzParseClassParameters(f *testing.F) {
	f.Add("dotmeshNamespace", "admin", "compression", "zstd-3")
	f.Add("recordsize", "1M", "crossNamespace", "true")
	f.Add(keyPVCName, "a", keyPVCNamespace, "b")
	f.Add(keySnapshotName, "a", keySnapshotNamespace, "b")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		in := map[string]string{k1: v1, k2: v2}
		p, err := parseClassParameters(in)
		if err == nil {
			safe(t, p.choice)
		} else if dot.CodeOf(err) != dot.CodeInvalid {
			t.Errorf("got %v", err)
		}
		if _, err := parseSnapshotParameters(in); err != nil && dot.CodeOf(err) != dot.CodeInvalid {
			t.Errorf("got %v", err)
		}
	})
}

// safe fails for a choice that could mean something to a path or to ZFS.
func safe(t *testing.T, c choice) {
	t.Helper()
	for _, s := range []string{c.Namespace.String(), c.Name.String(), c.Subdot.String(), c.Branch.String()} {
		if strings.ContainsAny(s, "/@#. \x00\n") || len(s) > 128 {
			t.Errorf("a part %q was accepted", s)
		}
	}
}
