//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// sceneLocalIsUninstalled goes by deploy/README.md: the pools are exported, and their
// files stay. Then the rest is deleted.
func sceneLocalIsUninstalled(t *testing.T) {
	sys := kube{t: t, ns: system}
	ctx, cancel := inTime(t, 15*time.Minute)
	defer cancel()
	for _, args := range documented(t, "deploy/README.md", "\nTo uninstall and keep all data", "\nWhere a wait ends without success") {
		if _, err := suite.cluster.Kubectl(ctx, args...); err != nil {
			t.Fatal(err)
		}
	}
	for _, node := range oneLocalPool.nodes(suite.cluster) {
		out, err := node.SSH(ctx, "zpool list -H -o name; losetup -l -n; ls /var/lib/dotmesh/*.pool")
		if err != nil || strings.TrimSpace(out) != "/var/lib/dotmesh/pool.pool" {
			t.Errorf("on %s there is %q, want the pool's file alone (%v)", node.Name(), out, err)
		}
	}
	sys.kubectl("get", "secret", "dotmesh", "dotmesh-ca") // the Namespace stays, and what is in it
	if left := sys.kubectl("get", "deployments,daemonsets,statefulsets,poddisruptionbudgets,services", "-o", "name"); left != "" {
		t.Errorf("there is still %s", left)
	}
	objects, err := oneLocalPool.objects(suite, lab.DotmeshImage)
	if err != nil {
		t.Fatal(err)
	}
	_, namespace, _ := strings.Cut(objects, "kind: Namespace\n")
	if !strings.Contains(namespace, "\n---\n") {
		t.Fatal("the rendered file has no Namespace before other objects")
	}
	if _, err := suite.cluster.KubectlInput(ctx, strings.NewReader(objects), "delete", "--ignore-not-found", "--timeout=5m", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	sys.kubectl("delete", "pv", "-l", "app.kubernetes.io/component=etcd")
}
