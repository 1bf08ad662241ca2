// Package golden holds the objects that are built against the YAML of the caller's
// testdata, so that a reviewer reads what a change makes of them.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write testdata/*.yaml anew")

// Check compares each object with testdata/NAME.yaml; `go test PACKAGE -update` writes
// them anew.
func Check(t *testing.T, objects map[string]any) {
	t.Helper()
	for name, object := range objects {
		got, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name+".yaml")
		if *update {
			if err := os.WriteFile(file, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s is not what is built:\n%s", file, got)
		}
	}
}
