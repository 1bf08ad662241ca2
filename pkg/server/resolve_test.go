package server

import (
	"strings"
	"testing"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

const anyVolume = "00000000-0000-8000-8000-000000000000"

func TestWhoGetsWhichDot(t *testing.T) {
	name := func(s string) dot.FullName {
		n, err := parseDotName(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	dots := map[string]*dot.Dot{
		"admin/of-a":        {FullName: name("of-a"), MadeByPVC: true, Owner: "a"},
		"admin/of-a-shared": {FullName: name("of-a-shared"), MadeByPVC: true, Owner: "a", Shares: dot.Shares{Namespaces: []string{"b"}}},
		"admin/dm":          {FullName: name("dm")},
		"admin/dm-shared":   {FullName: name("dm-shared"), Shares: dot.Shares{Namespaces: []string{"b"}}},
		"admin/dm-all":      {FullName: name("dm-all"), Shares: dot.Shares{All: true}},
	}
	for _, c := range []struct {
		what   string
		req    *dotmeshv1.CreateVolumeRequest
		want   string // the dot's name
		join   bool
		code   dot.Code
		refuse string // part of the message; "" for no refusal
	}{
		{what: "named, new", req: &dotmeshv1.CreateVolumeRequest{DotName: "fresh", KubernetesNamespace: "b"}, want: "admin/fresh"},
		{what: "named, new, in another dotmesh namespace", req: &dotmeshv1.CreateVolumeRequest{DotNamespace: "team", DotName: "of-a", KubernetesNamespace: "b"}, want: "team/of-a"},
		{what: "named, own", req: &dotmeshv1.CreateVolumeRequest{DotName: "of-a", KubernetesNamespace: "a"}, want: "admin/of-a", join: true},
		{what: "named, another's", req: &dotmeshv1.CreateVolumeRequest{DotName: "of-a", KubernetesNamespace: "b"}, code: dot.CodePermission, refuse: "dm dot share admin/of-a b"},
		{what: "named, another's, shared", req: &dotmeshv1.CreateVolumeRequest{DotName: "of-a-shared", KubernetesNamespace: "b"}, want: "admin/of-a-shared", join: true},
		{what: "named, another's, shared with someone else", req: &dotmeshv1.CreateVolumeRequest{DotName: "of-a-shared", KubernetesNamespace: "c"}, code: dot.CodePermission, refuse: "dm dot share admin/of-a-shared c"},
		{what: "named, another's, crossNamespace", req: &dotmeshv1.CreateVolumeRequest{DotName: "of-a", KubernetesNamespace: "b", CrossNamespace: true}, want: "admin/of-a", join: true},
		{what: "named, dm's, not shared", req: &dotmeshv1.CreateVolumeRequest{DotName: "dm", KubernetesNamespace: "b"}, code: dot.CodePermission, refuse: "dm dot share admin/dm b"},
		{what: "named, dm's, not shared, no namespace told", req: &dotmeshv1.CreateVolumeRequest{DotName: "dm"}, code: dot.CodePermission, refuse: "made by dm"},
		{what: "named, dm's, shared", req: &dotmeshv1.CreateVolumeRequest{DotName: "dm-shared", KubernetesNamespace: "b"}, want: "admin/dm-shared", join: true},
		{what: "named, dm's, shared with all", req: &dotmeshv1.CreateVolumeRequest{DotName: "dm-all", KubernetesNamespace: "z"}, want: "admin/dm-all", join: true},
		{what: "named, exists, restore", req: &dotmeshv1.CreateVolumeRequest{DotName: "of-a", KubernetesNamespace: "a", SourceVolume: anyVolume}, code: dot.CodePrecondition, refuse: "makes a new dot"},
		{what: "unnamed, free", req: &dotmeshv1.CreateVolumeRequest{PvcName: "fresh", KubernetesNamespace: "b"}, want: "admin/fresh"},
		{what: "unnamed, no PVC told", req: &dotmeshv1.CreateVolumeRequest{}, want: "admin/csi"},
		{what: "unnamed, its own earlier one", req: &dotmeshv1.CreateVolumeRequest{PvcName: "of-a", KubernetesNamespace: "a", PvcUid: "12345678-1111-4222-8333-444444444444"}, want: "admin/a--of-a-12345678"},
		{what: "unnamed, another's", req: &dotmeshv1.CreateVolumeRequest{PvcName: "of-a", KubernetesNamespace: "b", PvcUid: "12345678-1111-4222-8333-444444444444"}, want: "admin/b--of-a-12345678"},
		{what: "unnamed, another's shared: not made by dm", req: &dotmeshv1.CreateVolumeRequest{PvcName: "of-a-shared", KubernetesNamespace: "b", PvcUid: "12345678-1111-4222-8333-444444444444"}, want: "admin/b--of-a-shared-12345678"},
		{what: "unnamed, dm's shared", req: &dotmeshv1.CreateVolumeRequest{PvcName: "dm-shared", KubernetesNamespace: "b"}, want: "admin/dm-shared", join: true},
		{what: "unnamed, dm's shared with another", req: &dotmeshv1.CreateVolumeRequest{PvcName: "dm-shared", KubernetesNamespace: "c", PvcUid: "12345678-1111-4222-8333-444444444444"}, want: "admin/c--dm-shared-12345678"},
		{what: "unnamed, dm's, crossNamespace is for naming", req: &dotmeshv1.CreateVolumeRequest{PvcName: "dm", KubernetesNamespace: "c", PvcUid: "12345678-1111-4222-8333-444444444444", CrossNamespace: true}, want: "admin/c--dm-12345678"},
		{what: "unnamed, dm's shared, restore makes a new one", req: &dotmeshv1.CreateVolumeRequest{PvcName: "dm-shared", KubernetesNamespace: "b", PvcUid: "12345678-1111-4222-8333-444444444444", SourceVolume: anyVolume}, want: "admin/b--dm-shared-12345678"},
	} {
		c.req.CsiName = "csi"
		w, err := parseWish(c.req)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		got, err := resolveTarget(w, func(n dot.FullName) (*dot.Dot, error) { return dots[n.String()], nil })
		switch {
		case c.refuse != "":
			if err == nil || dot.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.refuse) {
				t.Errorf("%s: got %v, want code %d and %q", c.what, err, c.code, c.refuse)
			}
		case err != nil:
			t.Errorf("%s: %v", c.what, err)
		case got.name.String() != c.want || (got.join != nil) != c.join:
			t.Errorf("%s: got %s, join %t, want %s, join %t", c.what, got.name, got.join != nil, c.want, c.join)
		}
	}
}

func TestBadWishes(t *testing.T) {
	long := strings.Repeat("x", 129)
	for _, c := range []struct {
		what string
		req  *dotmeshv1.CreateVolumeRequest
		code dot.Code
	}{
		{"no name", &dotmeshv1.CreateVolumeRequest{}, dot.CodeInvalid},
		{"long name", &dotmeshv1.CreateVolumeRequest{CsiName: long}, dot.CodeInvalid},
		{"control characters", &dotmeshv1.CreateVolumeRequest{CsiName: "a\x00b"}, dot.CodeInvalid},
		{"not UTF-8", &dotmeshv1.CreateVolumeRequest{CsiName: "a\xff"}, dot.CodeInvalid},
		{"dot name", &dotmeshv1.CreateVolumeRequest{CsiName: "a", DotName: "a/b"}, dot.CodeInvalid},
		{"namespace", &dotmeshv1.CreateVolumeRequest{CsiName: "a", DotNamespace: "../x"}, dot.CodeInvalid},
		{"subdot", &dotmeshv1.CreateVolumeRequest{CsiName: "a", Subdot: "_x"}, dot.CodeInvalid},
		{"branch", &dotmeshv1.CreateVolumeRequest{CsiName: "a", Branch: "a@b"}, dot.CodeInvalid},
		{"compression", &dotmeshv1.CreateVolumeRequest{CsiName: "a", Compression: "best"}, dot.CodeInvalid},
		{"recordsize", &dotmeshv1.CreateVolumeRequest{CsiName: "a", RecordSize: "3K"}, dot.CodeInvalid},
		{"negative size", &dotmeshv1.CreateVolumeRequest{CsiName: "a", RequiredBytes: -1}, dot.CodeInvalid},
		{"limit below size", &dotmeshv1.CreateVolumeRequest{CsiName: "a", RequiredBytes: 2, LimitBytes: 1}, dot.CodeOutOfRange},
		{"two sources", &dotmeshv1.CreateVolumeRequest{CsiName: "a", SourceVolume: anyVolume, SourceSnapshot: "x/y/z"}, dot.CodeInvalid},
		{"no such snapshot", &dotmeshv1.CreateVolumeRequest{CsiName: "a", SourceSnapshot: "nonsense"}, dot.CodeNotFound},
		{"no such volume", &dotmeshv1.CreateVolumeRequest{CsiName: "a", SourceVolume: "nonsense"}, dot.CodeNotFound},
		{"read-only without source", &dotmeshv1.CreateVolumeRequest{CsiName: "a", ReadOnly: true}, dot.CodeInvalid},
	} {
		if _, err := parseWish(c.req); err == nil || dot.CodeOf(err) != c.code {
			t.Errorf("%s: got %v, want code %d", c.what, err, c.code)
		}
	}
	if _, err := parseWish(&dotmeshv1.CreateVolumeRequest{CsiName: strings.Repeat("ü", 64)}); err != nil {
		t.Errorf("128 bytes of Unicode: %v", err)
	}
}

func TestChooseSize(t *testing.T) {
	const total = 100 << 30
	for _, c := range []struct {
		required, limit, source, want int64
		refused                       bool
	}{
		{want: 1 << 30},
		{limit: 5, want: 5},
		{required: 7, limit: 9, want: 7},
		{source: 2 << 30, want: 2 << 30},
		{source: 5, want: 1 << 30},
		{required: 4, source: 5, refused: true},
		{limit: 4, source: 5, refused: true},
		{required: total + 1, refused: true},
		{required: total, want: total},
	} {
		got, err := chooseSize(c.required, c.limit, c.source, total)
		if (err != nil) != c.refused || got != c.want || err != nil && dot.CodeOf(err) != dot.CodeOutOfRange {
			t.Errorf("%+v: got %d, %v", c, got, err)
		}
	}
}

func TestRootHoldsWhatSubdotsArePromised(t *testing.T) {
	sub := func(s string) dot.Subdot {
		v, err := dot.ParseSubdot(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	claims := []dot.Volume{{Subdot: sub("a"), SizeBytes: 10}, {Subdot: sub("a"), SizeBytes: 30}, {Subdot: sub("b"), SizeBytes: 5}}
	withRoot := append([]dot.Volume{{Subdot: dot.RootSubdot, SizeBytes: 40}}, claims...)
	for _, c := range []struct {
		what   string
		subdot string
		size   int64
		others []dot.Volume
		ok     bool
	}{
		{"large enough", "__root__", 35, claims, true},
		{"too small", "__root__", 34, claims, false},
		{"no root", "c", 1000, claims, true},
		{"fits below the root", "c", 5, withRoot, true},
		{"does not fit below the root", "c", 6, withRoot, false},
		{"a second claim that is smaller", "a", 20, withRoot, true},
		{"a second claim that is larger", "a", 36, withRoot, false},
		{"another root", "__root__", 1, withRoot, true},
	} {
		err := checkPromises(dot.FullName{}, sub(c.subdot), c.size, c.others)
		if (err == nil) != c.ok {
			t.Errorf("%s: got %v", c.what, err)
		}
	}
}

func TestTokens(t *testing.T) {
	id := dot.VolumeIDOf("x")
	if got, err := parseVolumeToken(volumeToken(id)); err != nil || got != id {
		t.Errorf("got %s, %v", got, err)
	}
	for _, name := range []string{"a", "ü/\"", strings.Repeat("x", 128)} {
		if got, err := parseSnapshotToken(snapshotToken(name)); err != nil || got != name {
			t.Errorf("got %q, %v", got, err)
		}
	}
	for _, bad := range []string{"x", "invalid-token", "!", "czo", strings.Repeat("9", 5000)} {
		if _, err := parseVolumeToken(bad); dot.CodeOf(err) != dot.CodeAborted {
			t.Errorf("volume token %.20q: got %v", bad, err)
		}
		if _, err := parseSnapshotToken(bad); dot.CodeOf(err) != dot.CodeAborted {
			t.Errorf("snapshot token %.20q: got %v", bad, err)
		}
	}
	if n, err := pageSize(0); n != maxPage || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := pageSize(-1); dot.CodeOf(err) != dot.CodeInvalid {
		t.Errorf("got %v", err)
	}
}
