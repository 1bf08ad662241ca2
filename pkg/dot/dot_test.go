package dot

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestMayUse(t *testing.T) {
	name := FullName{DefaultNamespace, NameFor("app")}
	owned := Dot{FullName: name, MadeByPVC: true, Owner: "prod"}
	shared := Dot{FullName: name, MadeByPVC: true, Owner: "prod", Shares: Shares{Namespaces: []string{"test"}}}
	byDM := Dot{FullName: name}
	byDMShared := Dot{FullName: name, Shares: Shares{All: true}}
	cases := []struct {
		what string
		dot  Dot
		who  Requester
		ok   bool
	}{
		{"the owner", owned, Requester{KubernetesNamespace: "prod"}, true},
		{"another namespace", owned, Requester{KubernetesNamespace: "test"}, false},
		{"another namespace, shared with it", shared, Requester{KubernetesNamespace: "test"}, true},
		{"a third namespace, shared with the other", shared, Requester{KubernetesNamespace: "dev"}, false},
		{"another namespace through a class that allows it", owned, Requester{"test", true}, true},
		{"any namespace, made by dm", byDM, Requester{KubernetesNamespace: "prod"}, false},
		{"nobody's namespace, made by dm", byDM, Requester{}, false},
		{"any namespace, made by dm and shared with all", byDMShared, Requester{KubernetesNamespace: "prod"}, true},
		{"no namespace, made for no namespace", Dot{FullName: name, MadeByPVC: true}, Requester{}, true},
	}
	for _, c := range cases {
		err := c.dot.MayUse(c.who)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v, want allowed %v", c.what, err, c.ok)
		}
		if err != nil && (CodeOf(err) != CodePermission || !strings.Contains(err.Error(), "dm dot share admin/app "+c.who.KubernetesNamespace)) {
			t.Errorf("%s: %q does not say what would allow it", c.what, err)
		}
	}
}

func TestAssignSubdotGivesEachItsProject(t *testing.T) {
	var d Dot
	a := d.AssignSubdot(DefaultSubdot, true)
	db, _ := ParseSubdot("db")
	b := d.AssignSubdot(db, false)
	root := d.AssignSubdot(RootSubdot, true)
	if a.ProjectID == b.ProjectID || a.ProjectID == 0 || b.ProjectID == 0 {
		t.Errorf("projects %d and %d, want two different ones", a.ProjectID, b.ProjectID)
	}
	if root.ProjectID != 0 || root.MadeByClaim {
		t.Errorf("the root got %+v, want no project and never removed", root)
	}
	if again := d.AssignSubdot(DefaultSubdot, false); again != a {
		t.Errorf("a second claim got %+v, want %+v", again, a)
	}
}

func TestMetadataCheck(t *testing.T) {
	cases := []struct {
		m  Metadata
		ok bool
	}{
		{Metadata{"a": "b", "lower.Case/x-1": ""}, true},
		{nil, true},
		{Metadata{"Upper": "x"}, false},
		{Metadata{"": "x"}, false},
		{Metadata{"a b": "x"}, false},
		{Metadata{"a": "\xff"}, false},
		{Metadata{"big": strings.Repeat("x", MaxProperty)}, false},
		{Metadata{"big": strings.Repeat("x", MaxProperty-len(`{"big":""}`))}, true},
	}
	for i, c := range cases {
		if err := c.m.Check(); (err == nil) != c.ok {
			t.Errorf("case %d: %v, want ok %v", i, err, c.ok)
		}
	}
}

func TestCheckMessage(t *testing.T) {
	for message, ok := range map[string]bool{"": true, "ü\n": true, "\xff": false, strings.Repeat("x", MaxProperty): true, strings.Repeat("x", MaxProperty+1): false} {
		if err := CheckMessage(message); (err == nil) != ok {
			t.Errorf("%.20q: %v, want ok %v", message, err, ok)
		}
	}
}

func TestSettings(t *testing.T) {
	for s, want := range map[string]RecordSize{"512": 512, "8K": 8192, "128k": 131072, "1M": 1 << 20, "2M": 0, "3K": 0, "256": 0, "": 0, "-8K": 0, "8KB": 0} {
		got, err := ParseRecordSize(s)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("ParseRecordSize(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for s, ok := range map[string]bool{"lz4": true, "zstd-19": true, "zstd-20": false, "gzip-9": true, "gzip-0": false, "": false, "lz4 -o x": false} {
		if _, err := ParseCompression(s); (err == nil) != ok {
			t.Errorf("ParseCompression(%q) = %v, want ok %v", s, err, ok)
		}
	}
}

func TestEpochOrder(t *testing.T) {
	if (Epoch{1, 9}).Compare(Epoch{2, 0}) != -1 || (Epoch{2, 1}).Compare(Epoch{2, 0}) != 1 || (Epoch{2, 1}).Compare(Epoch{2, 1}) != 0 {
		t.Error("an incarnation must outrank any number")
	}
	for _, s := range []string{"", "1", "1.", "a.b", "1.2.3", "-1.2"} {
		if _, err := ParseEpoch(s); err == nil {
			t.Errorf("ParseEpoch(%q) succeeded", s)
		}
	}
}

func TestErrorfKeepsCodeMessageAndCause(t *testing.T) {
	err := error(Unavailable("the registry is away: %w", io.ErrUnexpectedEOF))
	if CodeOf(err) != CodeUnavailable || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got code %v, chain %v", CodeOf(err), err)
	}
	if got, want := err.Error(), "the registry is away: unexpected EOF"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
