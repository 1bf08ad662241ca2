package specs

import (
	"maps"
	"testing"
	"time"
)

func TestParseAssignment(t *testing.T) {
	freed := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		annotations map[string]string
		want        Assignment
	}{
		"new": {nil, Assignment{}},
		"assigned": {
			map[string]string{"dotmesh.io/node": "n1", "dotmesh.io/generation": "1", "dotmesh.io/pool-name": "pool-1b4e28ba"},
			Assignment{Node: "n1", Generation: 1, PoolName: "pool-1b4e28ba"}},
		"assigned to one of the nodes of its name": {
			map[string]string{"dotmesh.io/node": "n1", "dotmesh.io/node-uid": "7d1c", "dotmesh.io/node-boot": "b001", "dotmesh.io/node-system": "4c4c", "dotmesh.io/generation": "1", "dotmesh.io/pool-name": "p"},
			Assignment{Node: "n1", Machine: Machine{"7d1c", "b001", "4c4c"}, Generation: 1, PoolName: "p"}},
		"released and free": {
			map[string]string{"dotmesh.io/generation": "7", "dotmesh.io/released": "7", "dotmesh.io/pool": "42", "dotmesh.io/pool-name": "p", "dotmesh.io/freed": "2026-11-22T12:00:00Z"},
			Assignment{Generation: 7, Released: 7, Pool: "42", PoolName: "p", Freed: freed}},
		"to be deleted": {map[string]string{"dotmesh.io/delete": "true"}, Assignment{Delete: true}},
		"given up": {
			map[string]string{"dotmesh.io/node": "n1", "dotmesh.io/generation": "7", "dotmesh.io/released": "6", "dotmesh.io/given-up": "7", "dotmesh.io/pool-name": "p"},
			Assignment{Node: "n1", Generation: 7, Released: 6, GivenUp: 7, PoolName: "p"}},
		"not quite so":     {map[string]string{"dotmesh.io/delete": "yes"}, Assignment{}},
		"somebody's other": {map[string]string{"pv.kubernetes.io/bound-by-controller": "yes"}, Assignment{}},
	} {
		got, err := ParseAssignment(c.annotations)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
		delete(c.annotations, AnnotationDelete)
		if back := c.want.Write(nil); name != "somebody's other" && !maps.Equal(back, c.annotations) {
			t.Errorf("%s: written as %v", name, back)
		}
	}
}

func TestParseAssignmentRefuses(t *testing.T) {
	for name, annotations := range map[string]map[string]string{
		"a word":                {"dotmesh.io/generation": "one", "dotmesh.io/pool-name": "p"},
		"nothing":               {"dotmesh.io/generation": "", "dotmesh.io/pool-name": "p"},
		"zero":                  {"dotmesh.io/generation": "0", "dotmesh.io/pool-name": "p"},
		"less than zero":        {"dotmesh.io/generation": "-1", "dotmesh.io/pool-name": "p"},
		"more than there is":    {"dotmesh.io/generation": "9223372036854775808", "dotmesh.io/pool-name": "p"},
		"released before it":    {"dotmesh.io/generation": "2", "dotmesh.io/released": "3", "dotmesh.io/pool-name": "p"},
		"released, never given": {"dotmesh.io/released": "1", "dotmesh.io/pool-name": "p"},
		"given up before it":    {"dotmesh.io/generation": "2", "dotmesh.io/given-up": "3", "dotmesh.io/pool-name": "p"},
		"given up, by a word":   {"dotmesh.io/generation": "2", "dotmesh.io/given-up": "true", "dotmesh.io/pool-name": "p"},
		"no generation":         {"dotmesh.io/node": "n1", "dotmesh.io/pool-name": "p"},
		"no pool's name":        {"dotmesh.io/node": "n1", "dotmesh.io/generation": "1"},
		"no node's name":        {"dotmesh.io/node": "N 1", "dotmesh.io/generation": "1", "dotmesh.io/pool-name": "p"},
		"no time":               {"dotmesh.io/generation": "1", "dotmesh.io/pool-name": "p", "dotmesh.io/freed": "now"},
	} {
		if got, err := ParseAssignment(annotations); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}

func TestAssignmentsLife(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 5e8, time.UTC)
	one, two := Machine{UID: "u1", Boot: "b1", System: "s1"}, Machine{UID: "u2", Boot: "b2", System: "s2"}
	a := Assignment{}.To("n1", one, "pool-1")
	if a.Generation != 1 || a.Machine != one || a.NeedsTakeOver() || a.IsReleased() || a.IsFree() {
		t.Errorf("first: %+v", a)
	}
	a = a.ReleasedNow().FreedAt(now)
	if !a.IsReleased() || !a.IsFree() || a.Machine != (Machine{}) || a.Freed.Nanosecond() != 0 {
		t.Errorf("released: %+v", a)
	}
	a = a.To("n2", two, "other")
	if a.Generation != 2 || a.NeedsTakeOver() || a.PoolName != "pool-1" || !a.Freed.IsZero() {
		t.Errorf("second, after a release: %+v", a)
	}
	a = a.FreedAt(now).To("n3", two, "other")
	if a.Generation != 3 || !a.NeedsTakeOver() {
		t.Errorf("third, after a node died: %+v", a)
	}
	if a = a.ReleasedNow().FreedAt(now).To("n1", one, "other"); a.NeedsTakeOver() {
		t.Errorf("fourth, after a release: %+v", a)
	}
}

// What a person gave up nobody exported, so that it is taken over.
func TestGivenUpAssignment(t *testing.T) {
	now := time.Unix(0, 0)
	if a := (Assignment{}); a.IsGivenUp() {
		t.Errorf("new: %+v", a)
	}
	a := Assignment{}.To("n1", Machine{}, "pool-1").ReleasedNow().FreedAt(now).To("n1", Machine{}, "")
	for said, want := range map[uint64]bool{0: false, 1: false, 2: true} {
		if a.GivenUp = said; a.IsGivenUp() != want || a.IsReleased() {
			t.Errorf("%d of it was given up: %+v", said, a)
		}
	}
	if free := a.FreedAt(now); free.GivenUp != 0 || free.IsReleased() {
		t.Errorf("freed: %+v", free)
	}
	if next := a.To("n2", Machine{}, ""); next.GivenUp != 0 || !next.NeedsTakeOver() {
		t.Errorf("another's: %+v", next)
	}
	for name, said := range map[string]Assignment{"given up": a, "released": a.ReleasedNow()} {
		if is := said.Imported(); is.IsGivenUp() || is.IsReleased() || is.NeedsTakeOver() {
			t.Errorf("%s, and imported nevertheless: %+v", name, is)
		}
	}
}

func TestWriteLeavesWhatIsNotOurs(t *testing.T) {
	was := map[string]string{"kept": "yes", AnnotationDelete: True, AnnotationNode: "n1", AnnotationGeneration: "1", AnnotationPoolName: "p"}
	a, err := ParseAssignment(was)
	if err != nil {
		t.Fatal(err)
	}
	got := a.ReleasedNow().FreedAt(time.Unix(0, 0)).Write(was)
	want := map[string]string{"kept": "yes", AnnotationDelete: True, AnnotationGeneration: "1", AnnotationReleased: "1", AnnotationPoolName: "p", AnnotationFreed: "1970-01-01T00:00:00Z"}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if was[AnnotationNode] != "n1" {
		t.Error("what was given has changed")
	}
}
