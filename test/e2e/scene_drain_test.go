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

// drain is what users are told to give kubectl, and no more. While that waits, meanwhile is
// called.
func drain(t *testing.T, node string, meanwhile func()) {
	t.Helper()
	sys := kube{t: t, ns: system}
	args := []string{"drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=" + seconds(2*podLimit)}
	ended := make(chan error, 1)
	go func() {
		_, err := sys.try(2*podLimit+30*time.Second, args...)
		ended <- err
	}()
	meanwhile()
	if err := <-ended; err != nil {
		suite.dump(t.Name(), nil)
		t.Fatal(err)
	}
}

// agent is what monitors a node, as a DaemonSet. It has a mount of its own of a dot that was
// mounted when it began; those that it has from kubelet's directories go with these.
type agent struct{ node string }

func (a agent) String() string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {e2e: agent}}
  template:
    metadata: {labels: {e2e: agent}}
    spec:
      nodeSelector: {kubernetes.io/hostname: %s}
      terminationGracePeriodSeconds: 1
      enableServiceLinks: false
      automountServiceAccountToken: false
      containers:
      - name: main
        image: %s
        command: [sh, -c, "mkdir /mine && mount --bind $(awk '$3==\"zfs\"{print $2; exit}' /proc/self/mounts) /mine && exec sleep 1000000"]
        securityContext: {privileged: true}
        volumeMounts: [{name: host, mountPath: /host}]
      volumes:
      - name: host
        hostPath: {path: /var/lib/kubelet}
`, a.node, podImage)
}

// agentLetsGo waits until an Event on a node names the agent as what holds the pool, and
// takes it away.
func agentLetsGo(k kube, node string) {
	k.t.Helper()
	uid := k.get("pods", `{.items[?(@.metadata.labels.e2e=="agent")].metadata.uid}`)
	if uid == "" {
		k.t.Fatal("there is no agent")
	}
	eventually(k.t, podLimit, "an Event names the agent", func() error {
		out, err := k.try(callLimit, "-n", "default", "get", "events", "--field-selector=reason=PoolInUse,involvedObject.name="+node, "-o", "jsonpath={.items[*].message}")
		if err == nil && !strings.Contains(out, "of pod "+uid) {
			err = fmt.Errorf("%q does not name pod %s", out, uid)
		}
		return err
	})
	k.kubectl("delete", "daemonset", "agent")
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
	drain(t, node, nothing)
	sys.kubectl("uncordon", node)
	k.waitDeployment(2*podLimit, "idle")
	if got := k.exec("deploy/idle", "cat /data/file"); got != "before" {
		t.Errorf("the file holds %q", got)
	}
}

// sceneNodeComesAndGoes: a node is added and gets a pool, in a file on its disk's file
// system, while those of the others are on their disks; five pods with ten volumes use it;
// it is drained, once an agent's mounts are gone that an Event names, and they run elsewhere
// with all they had; it is removed, and its disk stays.
func sceneNodeComesAndGoes(t *testing.T) {
	sys, pvc := kube{t: t, ns: system}, ""
	t.Cleanup(func() { giveUpPool(sys, pvc) }) // when nothing is on it any more
	k := newKube(t, "e2e-comes")
	configure(sys, `"pvcPerNode.volumeMode":"Filesystem"`)
	added := addNode(t)
	awaitServer(t, added)
	awaitCapacity(t, added)
	pvc = poolClaim(sys, added)
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
	k.apply(agent{added.Name()})
	k.kubectl("rollout", "status", "daemonset/agent", "--timeout="+seconds(callLimit))
	drain(t, added.Name(), func() { agentLetsGo(k, added.Name()) })
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

// giveUpPool deletes the PVC of a pool that nobody needs any more, as operations.md says: it
// goes when nothing uses it.
func giveUpPool(sys kube, pvc string) {
	sys.t.Helper()
	if pvc == "" || sys.t.Failed() {
		return
	}
	sys.kubectl("annotate", "pvc", pvc, "dotmesh.io/delete=true")
	sys.kubectl("delete", "pvc", pvc, "--wait=false", "--ignore-not-found")
	sys.wait(2*podLimit, "delete", "pvc/"+pvc)
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
