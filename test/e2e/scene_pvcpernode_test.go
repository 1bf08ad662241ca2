//go:build e2e

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// scenePVCPerNode installs the storage mode: each node has a pool on a disk of the
// cloud, held by a pod that is not the server.
func scenePVCPerNode(t *testing.T) {
	inSystem(t, bootLimit, cloudPools.install())
	sys := kube{t: t, ns: system}
	for _, node := range suite.cluster.Nodes() {
		pvc := poolClaim(sys, node)
		if got := sys.get("pvc/"+pvc, "{.spec.storageClassName} {.spec.volumeMode} {.status.phase}"); got != "standard Block Bound" {
			t.Errorf("%s is %q", pvc, got)
		}
		for _, component := range []string{"server", "holder"} {
			if got := sys.get("pod/"+component+"-"+pvc+"-node-"+node.Name(), "{.spec.nodeName}"); got != node.Name() {
				t.Errorf("the %s of %s is on %q", component, pvc, got)
			}
		}
	}
	if got := sys.get("pvc", "{.items[?(@.metadata.labels.app\\.kubernetes\\.io/component==\"etcd\")].spec.storageClassName}"); !strings.HasPrefix(got, "standard") {
		t.Errorf("etcd's claims have the class %q", got)
	}
	disksGrow(t)
	atAGlance(t)
}

// disksGrow raises the size of the pools: the disks of the cloud grow, and then the pools
// on them, under their servers.
func disksGrow(t *testing.T) {
	sys := kube{t: t, ns: system}
	pods := serverPods(sys)
	configure(sys, `"pvcPerNode.pvSizePerNode":"`+grownSize+`"`)
	for _, node := range suite.cluster.Nodes() {
		awaitGrown(t, node)
	}
	if now := serverPods(sys); now != pods {
		t.Errorf("the server pods were made anew: %s, before %s", now, pods)
	}
}

// atAGlance runs the command that shows all servers: each of its columns tells something.
func atAGlance(t *testing.T) {
	sys := kube{t: t, ns: system}
	command := documented(t, "docs/configuration.md", "\nAt a glance:", "\n## ")[0]
	for _, node := range suite.cluster.Nodes() {
		columns := []string{node.Name(), `[0-9a-z-]+`, poolClaim(sys, node), `\S+`, "ONLINE"} // the GUID of the pool, and a version
		line := regexp.MustCompile(`(?m)^` + serverOn(sys, node) + ` .* ` + strings.Join(columns, " +") + ` *$`)
		eventually(t, time.Minute, node.Name()+" is shown", func() error {
			out, err := sys.try(callLimit, command...)
			if err == nil && !line.MatchString(out) {
				err = fmt.Errorf("%s does not match %s", out, line)
			}
			return err
		})
	}
}

// serverOn is the name of the server's pod on a node.
func serverOn(sys kube, node *lab.Node) string {
	sys.t.Helper()
	return sys.kubectl("get", "pod", "-l", serverSelector, "-o", `jsonpath={.items[?(@.spec.nodeName=="`+node.Name()+`")].metadata.name}`)
}

// sceneInterruptions: who writes does not notice that the server is killed, that its
// pod is deleted, and that all of dotmesh is upgraded.
func sceneInterruptions(t *testing.T) {
	k, sys := newKube(t, "e2e-interruptions"), kube{t: t, ns: system}
	node := suite.cluster.Node(2)
	f := k.startWriter(node)
	disk := sys.get("pv/"+sys.get("pvc/"+poolClaim(sys, node), "{.spec.volumeName}"), "{.spec.csi.volumeHandle}")

	killServerOn(t, node)
	waitAcks(t, f, 10)
	deleteServerOn(t, node)
	waitAcks(t, f, 10)
	upgrade(t)
	waitAcks(t, f, 10)

	checkWriter(t, readWriter(k, "writer", "writer"), readWriter(k, "writer", "control"))
	checkRecords(k, "writer", "writer", "/data/records", f.acked())
	checkDisk(t, disk, node)
}

// killServerOn kills the process; kubelet starts it again.
func killServerOn(t *testing.T, node *lab.Node) {
	t.Helper()
	sys := kube{t: t, ns: system}
	pod := "pod/" + serverOn(sys, node)
	before := sys.get(pod, "{.status.containerStatuses[0].restartCount}")
	ctx, cancel := inTime(t, callLimit)
	defer cancel()
	if _, err := node.SSH(ctx, `pkill -KILL -f '^(/usr/local/bin/)?dotmesh server'`); err != nil {
		t.Fatal(err)
	}
	eventually(t, podLimit, "the server is started again", func() error {
		if now := sys.get(pod, "{.status.containerStatuses[0].restartCount}"); now == before {
			return fmt.Errorf("it was restarted %s times, as before", now)
		}
		return nil
	})
	sys.wait(podLimit, "condition=Ready", pod)
}

// deleteServerOn deletes the server's pod; the operator makes another.
func deleteServerOn(t *testing.T, node *lab.Node) {
	t.Helper()
	sys := kube{t: t, ns: system}
	pod := "pod/" + serverOn(sys, node)
	before := sys.get(pod, "{.metadata.uid}")
	sys.remove(pod)
	eventually(t, podLimit, "another server pod", func() error {
		out, err := sys.try(callLimit, "get", pod, "-o", `jsonpath={.metadata.uid} {.status.conditions[?(@.type=="Ready")].status}`)
		if err != nil || strings.HasPrefix(out, before) || !strings.HasSuffix(out, "True") {
			return fmt.Errorf("%q: %w", out, err)
		}
		return nil
	})
}

// upgrade goes to the next version. Servers are replaced one by one, each when the last
// one is ready.
func upgrade(t *testing.T) {
	t.Helper()
	applyNext(t)
	awaitNext(t)
}
