//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/test/audit"
)

// noVerbIsUnused compares what a ServiceAccount may do by a rendered file with what it
// did in the scenes before, and so comes last.
func noVerbIsUnused(account, manifest string) func(*testing.T) {
	return func(t *testing.T) {
		_, excused, err := audit.ReadPage(string(read(t, "docs/rbac.md")), audit.NotUsed, system)
		if err != nil {
			t.Fatal(err)
		}
		unused, forbidden := audit.Compare(granted(t, account, manifest), requests(t))
		for _, g := range excused.Without(unused) {
			t.Errorf("%s, and nothing did: take it away, or say in docs/rbac.md when it is used", g)
		}
		for _, r := range forbidden {
			t.Errorf("%s, which is forbidden", r)
		}
	}
}

func granted(t *testing.T, account, manifest string) []audit.Grant {
	t.Helper()
	f, err := os.Open(filepath.Join(suite.repo, "deploy/rendered", manifest))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	objects, err := audit.ReadManifests(f)
	if err != nil {
		t.Fatal(err)
	}
	grants, err := audit.Grants(objects, system)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(grants, func(g audit.Grant) bool { return g.Account != account })
}

// requests are those of the whole run, but for what the version before was refused.
func requests(t *testing.T) []audit.Request {
	t.Helper()
	logs, err := suite.cluster.AuditLogs()
	if err != nil || len(logs) == 0 {
		t.Fatalf("got %v, %v, want the API server's audit log", logs, err)
	}
	var all []audit.Request
	for _, path := range logs {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		asked, err := audit.Read(f, system, suite.upgraded)
		_ = f.Close()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, asked...)
	}
	return all
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(suite.repo, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
