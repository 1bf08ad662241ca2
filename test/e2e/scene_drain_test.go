//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// drain is what users are told to give kubectl, and no more.
func drain(t *testing.T, node string) {
	t.Helper()
	sys := kube{t: t, ns: system}
	args := []string{"drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=" + seconds(2*podLimit)}
	if _, err := sys.try(2*podLimit+30*time.Second, args...); err != nil {
		suite.dump(t.Name(), nil)
		t.Fatal(err)
	}
}

// idle is a Deployment of one pod with claims mounted at /<claim>, on a node: if it can
// run there, or, with must, there only.
type idle struct {
	name, node string
	claims     []string
	must       bool
}

func (d idle) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {e2e: %[1]s}}
  template:
    metadata: {labels: {e2e: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 1
      enableServiceLinks: false
      automountServiceAccountToken: false
`, d.name)
	if d.must {
		fmt.Fprintf(&b, "      nodeSelector: {kubernetes.io/hostname: %s}\n", d.node)
	} else {
		fmt.Fprintf(&b, `      affinity:
        nodeAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
          - weight: 100
            preference: {matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [%s]}]}
`, d.node)
	}
	fmt.Fprintf(&b, "      containers:\n      - name: main\n        image: %s\n        command: [sleep, \"1000000\"]\n        volumeMounts:\n", podImage)
	for _, name := range d.claims {
		fmt.Fprintf(&b, "        - {name: %[1]s, mountPath: /%[1]s}\n", name)
	}
	b.WriteString("      volumes:\n")
	for _, name := range d.claims {
		fmt.Fprintf(&b, "      - {name: %[1]s, persistentVolumeClaim: {claimName: %[1]s}}\n", name)
	}
	return b.String()
}

func (k kube) waitDeployment(limit time.Duration, name string) {
	k.t.Helper()
	if _, err := k.try(limit+30*time.Second, "rollout", "status", "deployment/"+name, "--timeout="+seconds(limit)); err != nil {
		k.t.Fatalf("%v\n%s", err, k.eventsOf("deployment/"+name))
	}
}

// sceneLocalDrain: kubectl drain ends by itself. What used a dot waits for the node,
// where the pool stays.
func sceneLocalDrain(t *testing.T) {
	k, sys := newKube(t, "e2e-drain"), kube{t: t, ns: system}
	node := suite.cluster.Node(3).Name()
	k.apply(claim{name: "data"}, idle{name: "idle", node: node, claims: []string{"data"}})
	k.waitDeployment(podLimit, "idle")
	k.exec("deploy/idle", "echo before > /data/file && sync")
	drain(t, node)
	sys.kubectl("uncordon", node)
	k.waitDeployment(2*podLimit, "idle")
	if got := k.exec("deploy/idle", "cat /data/file"); got != "before" {
		t.Errorf("the file holds %q", got)
	}
}

// sceneNodeComesAndGoes: a node is added and gets a pool, in a file on its disk's file
// system, while those of the others are on their disks; five pods with ten volumes use it;
// it is drained, and they run elsewhere with all they had; it is removed, and its disk
// stays.
func sceneNodeComesAndGoes(t *testing.T) {
	k, sys := newKube(t, "e2e-comes"), kube{t: t, ns: system}
	configure(sys, `"pvcPerNode.volumeMode":"Filesystem"`)
	added := addNode(t)
	awaitServer(t, added)
	awaitCapacity(t, added)
	pvc := poolClaim(sys, added)
	configure(sys, `"pvcPerNode.volumeMode":"Block"`)
	modes := sys.kubectl("get", "pvc", "-l", "dotmesh.io/role=pool", "-o", "jsonpath={.items[*].spec.volumeMode}")
	if got := sys.get("pvc/"+pvc, "{.spec.volumeMode}"); got != "Filesystem" || strings.Count(modes, "Block") != 3 {
		t.Errorf("the new PVC has the mode %q, and all have %s", got, modes)
	}
	const pods = 5
	for i := range pods {
		a, b := fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)
		k.apply(claim{name: a}, claim{name: b}, idle{name: fmt.Sprintf("idle%d", i), node: added.Name(), claims: []string{a, b}})
	}
	for i := range pods {
		k.waitDeployment(2*podLimit, fmt.Sprintf("idle%d", i))
		k.exec(fmt.Sprintf("deploy/idle%d", i), fmt.Sprintf("for v in a%[1]d b%[1]d; do echo $v > /$v/file; done; sync", i))
	}

	if got := k.kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}"); strings.Count(got, added.Name()) != pods {
		t.Errorf("the pods are on %s", got)
	}
	drain(t, added.Name())
	taker := awaitTaker(t, pvc, added.Name())
	for i := range pods {
		// A dot stays on its pool, and the scheduler does not know where that went.
		k.apply(idle{fmt.Sprintf("idle%d", i), taker, []string{fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)}, true})
	}
	for i := range pods {
		k.waitDeployment(15*time.Minute, fmt.Sprintf("idle%d", i))
		for _, v := range []string{fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)} {
			if got := k.exec(fmt.Sprintf("deploy/idle%d", i), "cat /"+v+"/file"); got != v {
				t.Errorf("volume %s holds %q", v, got)
			}
		}
	}
	ctx, cancel := inTime(t, callLimit)
	defer cancel()
	if out, err := added.SSH(ctx, "zpool list -H -o name; losetup -l -n"); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("the drained node still has %q (%v)", out, err)
	}
	if got := sys.get("node/"+added.Name(), `{.metadata.labels.dotmesh\.io/server}`); got != "" {
		t.Errorf("the drained node's label is %q", got)
	}
	sys.kubectl("delete", "node", added.Name())
	if err := added.Remove(ctx); err != nil {
		t.Fatal(err)
	}
	if got := sys.get("pvc/"+pvc, "{.status.phase}"); got != "Bound" {
		t.Errorf("the claim of the removed node's pool is %q", got)
	}
	checkMisuses(t)
}

// addNode boots a node more.
func addNode(t *testing.T) *lab.Node {
	t.Helper()
	ctx, cancel := inTime(t, 10*time.Minute)
	defer cancel()
	added, err := suite.cluster.AddNode(ctx)
	if err == nil {
		err = added.WaitReady(ctx, 5*time.Minute)
	}
	if err != nil {
		t.Fatal(err)
	}
	return added
}

// awaitCapacity waits until the scheduler knows of the room on a node's pool: the
// provisioner asks once a minute.
func awaitCapacity(t *testing.T, node *lab.Node) {
	t.Helper()
	sys := kube{t: t, ns: system}
	eventually(t, 5*time.Minute, "the room on "+node.Name()+" is known", func() error {
		out := sys.kubectl("get", "csistoragecapacities", "-o",
			`jsonpath={.items[?(@.nodeTopology.matchLabels.topology\.dotmesh\.csi/node=="`+node.Name()+`")].capacity}`)
		if out == "" || out == "0" {
			return fmt.Errorf("it is %q", out)
		}
		return nil
	})
}

// awaitServer waits until a node's server is ready.
func awaitServer(t *testing.T, nodes ...*lab.Node) {
	t.Helper()
	inSystem(t, 15*time.Minute, func(w *world, ctx context.Context) error { return w.serversReady(ctx, nodes) })
}
