package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

var pages = []string{"README.md", "deploy/README.md", "docs/architecture.md", "docs/on-disk-format.md", "docs/configuration.md", "docs/benchmarks.md", "docs/etcd.md", "docs/operations.md", "docs/rbac.md"}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	// path is a file or directory of ours in backticks.
	path = regexp.MustCompile("`((?:cmd|pkg|test|deploy|sidecars|docs)/[A-Za-z0-9_./-]*|Makefile|Dockerfile)`")
)

func TestWhatIsNamedExists(t *testing.T) {
	for _, page := range pages {
		text := read(t, page)
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
		for _, m := range path.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s names %s: %v", page, m[1], err)
			}
		}
	}
}

// Everything that is stored is described.
func TestOnDiskFormatIsComplete(t *testing.T) {
	text := read(t, "docs/on-disk-format.md")
	stored := regexp.MustCompile(`prefix \+ "([a-z.-]+)"`).FindAllStringSubmatch(read(t, "pkg/engine/properties.go"), -1)
	if len(stored) < 20 {
		t.Fatalf("only %d properties found in the code", len(stored))
	}
	for _, m := range stored {
		if !strings.Contains(text, "`io.dotmesh:"+m[1]) {
			t.Errorf("docs/on-disk-format.md does not tell of io.dotmesh:%s", m[1])
		}
	}
	kinds := regexp.MustCompile(`Kind\s+= "([a-z]+)"`).FindAllStringSubmatch(read(t, "pkg/store/keys.go"), -1)
	if len(kinds) < 10 {
		t.Fatalf("only %d kinds of keys found in the code", len(kinds))
	}
	for _, m := range kinds {
		if !strings.Contains(text, "`"+m[1]) {
			t.Errorf("docs/on-disk-format.md does not tell of the registry's %s", m[1])
		}
	}
}

// TestMakefileHelpsItself: what is promised to be there is, and `make` tells of it.
func TestMakefileHelpsItself(t *testing.T) {
	makefile := read(t, "Makefile")
	promised := "help build lint generate manifests test test-unit test-zfs test-sanity test-cluster test-e2e test-all bench demo dist check"
	for target := range strings.FieldsSeq(promised) {
		if !regexp.MustCompile(`(?m)^` + target + `:.*## \S`).MatchString(makefile) {
			t.Errorf("the Makefile has no target %s with a text for help", target)
		}
	}
	if !strings.HasSuffix(strings.TrimSpace(read(t, ".ci/run")), "exec make test") {
		t.Error(".ci/run does not end with what the README calls the test command")
	}
}

func TestMakefileTargetsNamedInTheREADMEExist(t *testing.T) {
	makefile := read(t, "Makefile")
	for _, page := range pages {
		for _, m := range regexp.MustCompile("`make ([a-z0-9-]+)").FindAllStringSubmatch(read(t, page), -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s names make %s, which the Makefile does not have", page, m[1])
			}
		}
	}
}
