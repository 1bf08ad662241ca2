//go:build e2e

package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// uninstall goes by deploy/README.md.
func uninstall(t *testing.T, d deployment) {
	t.Helper()
	ctx, cancel := inTime(t, 15*time.Minute)
	defer cancel()
	for _, args := range documented(t, "deploy/README.md", "\nTo uninstall and keep all data", "\nWhere a wait ends without success") {
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "dotmesh-default.yaml", "dotmesh-"+d.overlay+".yaml")
		}
		if _, err := suite.cluster.Kubectl(ctx, args...); err != nil {
			t.Fatal(err)
		}
	}
}

// sceneLocalIsUninstalled: the pools are exported, and their files stay. Then the rest is
// deleted.
func sceneLocalIsUninstalled(t *testing.T) {
	sys := kube{t: t, ns: system}
	uninstall(t, oneLocalPool)
	ctx, cancel := inTime(t, 10*time.Minute)
	defer cancel()
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

// sceneInstalledAgain: the same files go on with what an uninstallation leaves.
func sceneInstalledAgain(d deployment) func(*testing.T) {
	return func(t *testing.T) {
		k, sys := newKube(t, "e2e-again"), kube{t: t, ns: system}
		nodes := suite.cluster.Nodes()
		i := slices.IndexFunc(nodes, func(n *lab.Node) bool { return len(strings.Fields(poolClaim(sys, n))) < 2 })
		pvc, on1 := poolClaim(sys, nodes[i]), on(nodes[i].Name(), pod{name: "data", claims: []string{"data"}})
		k.apply(claim{name: "data"}, on1)
		k.waitReady("data")
		k.exec("data", "echo kept > /data/file && sync")
		k.kubectl("delete", "pod", "data")

		uninstall(t, d)
		inSystem(t, bootLimit, func(w *world, ctx context.Context) error { return w.applyOperated(ctx, d) })
		if pvc != "" { // nodes take the pools as they come
			on1 = on(awaitTaker(t, pvc, ""), pod{name: "data", claims: []string{"data"}})
		}
		k.apply(on1)
		k.waitReady("data")
		if got := k.exec("data", "cat /data/file"); got != "kept" {
			t.Errorf("the file holds %q", got)
		}
	}
}
