package manifests

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
)

// The table of docs/configuration.md on what became of the old objects names only what
// is in the rendered files, or is said to be the operator's or the user's.
func TestWhatBecameOfTheOldObjects(t *testing.T) {
	there := map[string]bool{"Secret dotmesh": true} // the user's
	for _, file := range []string{"dotmesh-default.yaml", "configmap-default.yaml"} {
		for _, o := range parse(t, filepath.Join(root, "deploy/rendered", file)) {
			named, err := meta.Accessor(o)
			if err != nil {
				t.Fatal(err)
			}
			there[o.GetObjectKind().GroupVersionKind().Kind+" "+named.GetName()] = true
		}
	}
	page, err := os.ReadFile(filepath.Join(root, "docs/configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "| old object | new object | |\n")
	if !found {
		t.Fatal("docs/configuration.md has no table of old objects")
	}
	object := regexp.MustCompile("([A-Z][A-Za-z]+) `([a-z-]+)`")
	rows := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || strings.HasPrefix(line, "|---") {
			continue
		}
		rows++
		byOperator := strings.HasPrefix(strings.TrimSpace(cells[3]), "operator")
		for _, m := range object.FindAllStringSubmatch(cells[2], -1) {
			if name := m[1] + " " + m[2]; there[name] == byOperator {
				t.Errorf("%s: in the rendered files: %t, by the operator: %t", name, there[name], byOperator)
			}
		}
	}
	if rows < 10 {
		t.Errorf("the table has %d rows", rows)
	}
}
