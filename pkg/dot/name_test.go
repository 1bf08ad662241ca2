package dot

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	cases := []struct {
		in string
		ok bool
	}{
		{"app", true},
		{"A_b-9", true},
		{strings.Repeat("a", 64), true},
		{strings.Repeat("a", 65), false},
		{"", false},
		{"a/b", false},
		{"a.b", false},
		{"a@b", false},
		{"a b", false},
		{"ü", false},
		{"a\n", false},
	}
	for _, c := range cases {
		n, err := ParseName(c.in)
		if (err == nil) != c.ok {
			t.Errorf("ParseName(%q) = %v, want ok %v", c.in, err, c.ok)
		}
		if err != nil && (CodeOf(err) != CodeInvalid || !n.IsZero()) {
			t.Errorf("ParseName(%q) = %q with code %v, want no name and CodeInvalid", c.in, n, CodeOf(err))
		}
	}
}

func TestReservedSubdots(t *testing.T) {
	for s, ok := range map[string]bool{"db": true, "__default__": true, "__root__": true, "_x": false, "__other__": false} {
		if _, err := ParseSubdot(s); (err == nil) != ok {
			t.Errorf("ParseSubdot(%q) = %v, want ok %v", s, err, ok)
		}
	}
}

func TestUnmarshalRefusesWhatParseRefuses(t *testing.T) {
	var d struct{ Name Name }
	if err := json.Unmarshal([]byte(`{"Name":"a/b"}`), &d); err == nil {
		t.Errorf("unmarshalled %q", d.Name)
	}
	if err := json.Unmarshal([]byte(`{"Name":"ab"}`), &d); err != nil || d.Name.String() != "ab" {
		t.Errorf("got %q, %v", d.Name, err)
	}
	if err := json.Unmarshal([]byte(`{"Name":""}`), &d); err != nil || !d.Name.IsZero() {
		t.Errorf("empty gave %q, %v, want none", d.Name, err)
	}
}

func TestNamesForKubernetesNamesNeverMeet(t *testing.T) {
	long := strings.Repeat("x", 70)
	inputs := []string{"a.b", "a-b", "a_b", "a.b.", long + "1", long + "2", "ünï", "日本語", "日本誤", ""}
	seen := map[string]string{}
	for _, in := range inputs {
		n := NameFor(in).String()
		if _, err := ParseName(n); err != nil {
			t.Errorf("NameFor(%q) = %q, which is not a name: %v", in, n, err)
		}
		if other, ok := seen[n]; ok {
			t.Errorf("%q and %q both became %q", in, other, n)
		}
		seen[n] = in
	}
	if got := NameFor("pvc-1").String(); got != "pvc-1" {
		t.Errorf("a valid name became %q", got)
	}
}

func TestQualifiedNameForKeepsTheUID(t *testing.T) {
	got := QualifiedNameFor("prod", "data", "0a1b2c3d-0000-4000-8000-000000000000").String()
	if want := "prod--data-0a1b2c3d"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	a := QualifiedNameFor(strings.Repeat("n", 63), strings.Repeat("p", 200), "0a1b2c3d-0000-4000-8000-000000000000")
	b := QualifiedNameFor(strings.Repeat("n", 63), strings.Repeat("p", 200), "0a1b2c3d-0000-4000-8000-000000000001")
	if a == b {
		t.Errorf("two UIDs gave the one name %q", a)
	}
}

func FuzzNameFor(f *testing.F) {
	f.Add("pvc-1")
	f.Add("my.claim")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := ParseName(NameFor(s).String()); err != nil {
			t.Errorf("NameFor(%q): %v", s, err)
		}
		if _, err := ParseName(QualifiedNameFor(s, s, s).String()); err != nil {
			t.Errorf("QualifiedNameFor(%q): %v", s, err)
		}
	})
}
