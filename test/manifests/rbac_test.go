package manifests

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/test/audit"
)

// What is granted is in docs/rbac.md with its reason, and what is there is granted.
func TestEveryVerbHasItsReason(t *testing.T) {
	objects := append(rendered(t), parse(t, filepath.Join(root, "deploy/rendered/dotmesh-default.yaml"))...)
	grants, err := audit.Grants(objects, "dotmesh")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs/rbac.md"))
	if err != nil {
		t.Fatal(err)
	}
	reasons, notUsed, err := audit.ReadPage(string(page), audit.NotUsed, "dotmesh")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range reasons.Without(grants) {
		t.Errorf("docs/rbac.md gives no reason why %s", g)
	}
	for _, told := range []audit.Reasons{reasons, notUsed} {
		for g := range told {
			if !slices.ContainsFunc(grants, func(have audit.Grant) bool { have.Name = ""; return have == g }) {
				t.Errorf("docs/rbac.md says that %s, which is not granted", g)
			}
		}
	}
}

// TestUpdatesAreNamed: what the operator may update in its namespace is named; the user's
// Secret is not among it.
func TestUpdatesAreNamed(t *testing.T) {
	grants, err := audit.Grants(parse(t, filepath.Join(root, "deploy/rendered/dotmesh-default.yaml")), "dotmesh")
	if err != nil {
		t.Fatal(err)
	}
	updates := 0
	for _, g := range grants {
		if g.Account != "dotmesh-operator" || g.Verb != "update" || g.Namespace == "" {
			continue
		}
		updates++
		if g.Name == "" || g.Name == "dotmesh" || g.Name == "configuration" {
			t.Errorf("%s", g)
		}
	}
	if updates < 10 {
		t.Errorf("there are %d", updates)
	}
}

// Both ways of reading the manifests find the same rules.
func TestAuditReadsTheManifests(t *testing.T) {
	f, err := os.Open(filepath.Join(root, "deploy/rendered/dotmesh-static.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	objects, err := audit.ReadManifests(f)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err1 := audit.Grants(objects, "dotmesh")
	ours, err2 := audit.Grants(rendered(t), "dotmesh")
	if err1 != nil || err2 != nil || len(ours) == 0 || !slices.Equal(theirs, ours) {
		t.Errorf("got %v, %v, want %v, %v", theirs, err1, ours, err2)
	}
}
