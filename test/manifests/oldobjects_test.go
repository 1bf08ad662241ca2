package manifests

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/etcd"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// oldObjects are what Dotmesh 0.x had people apply or make, and its etcd.
var oldObjects = []string{
	"ConfigMap configuration", "Secret dotmesh", "Namespace dotmesh",
	"ServiceAccount dotmesh", "ClusterRole dotmesh", "ClusterRoleBinding dotmesh", "Service dotmesh",
	"ServiceAccount dotmesh-operator", "ClusterRoleBinding dotmesh-operator", "Deployment dotmesh-operator",
	"ServiceAccount dotmesh-provisioner", "ClusterRole dotmesh-provisioner-runner", "ClusterRoleBinding dotmesh-provisioner",
	"Deployment dotmesh-dynamic-provisioner", "StorageClass dotmesh", "EtcdCluster dotmesh-etcd-cluster",
}

// made are what the operator makes that has a name of its own.
var made = []string{"DaemonSet " + specs.NodeDaemonSetName, "StatefulSet " + etcd.Name}

// The table of docs/configuration.md on what became of the old objects has each of them,
// and names only what is in the rendered files, or is the operator's or the user's.
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
	rows := map[string]bool{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || strings.HasPrefix(line, "|---") {
			continue
		}
		for _, m := range object.FindAllStringSubmatch(cells[1], -1) {
			rows[m[1]+" "+m[2]] = true
		}
		byOperator := strings.HasPrefix(strings.TrimSpace(cells[3]), "operator")
		for _, m := range object.FindAllStringSubmatch(cells[2], -1) {
			name := m[1] + " " + m[2]
			if there[name] == byOperator || slices.Contains(made, name) != byOperator {
				t.Errorf("%s is said to be the operator's: %t; it is in the rendered files: %t, and made by the operator: %t", name, byOperator, there[name], slices.Contains(made, name))
			}
		}
	}
	for _, name := range oldObjects {
		if !rows[name] {
			t.Errorf("the table has no row on %s", name)
		}
	}
}
