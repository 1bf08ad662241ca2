//go:build e2e

package e2e

import (
	"context"
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

// poolClaim is the name of the claim that a node's pool lies on.
func poolClaim(sys kube, node *lab.Node) string {
	sys.t.Helper()
	return sys.kubectl("get", "pvc", "-l", "dotmesh.io/role=pool", "-o",
		`jsonpath={.items[?(@.metadata.annotations.dotmesh\.io/node=="`+node.Name()+`")].metadata.name}`)
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

// checkDisk sees that a disk is on a node, and that none was ever taken from one that
// used it.
func checkDisk(t *testing.T, disk string, node *lab.Node) {
	t.Helper()
	disks, err := suite.cluster.Disks().List()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range disks {
		if d.ID == disk && d.Node != node.Name() {
			t.Errorf("the disk is on %q, want %s", d.Node, node.Name())
		}
	}
	checkMisuses(t)
}

// checkMisuses sees that no disk was ever taken from a node that used it.
func checkMisuses(t *testing.T) {
	t.Helper()
	if misuses, err := suite.cluster.Disks().Misuses(); err != nil || len(misuses) > 0 {
		t.Errorf("disks were detached in use: %+v, %v", misuses, err)
	}
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

// applyNext applies the rendered file with another version's image.
func applyNext(t *testing.T) {
	t.Helper()
	inSystem(t, callLimit, func(w *world, ctx context.Context) error {
		objects, err := cloudPools.objects(w, nextImage)
		if err != nil {
			return err
		}
		return w.cluster.Apply(ctx, []byte(objects))
	})
}

// upgrade goes to the next version. Servers are replaced one by one, each when the last
// one is ready.
func upgrade(t *testing.T) {
	t.Helper()
	applyNext(t)
	awaitNext(t)
	sys := kube{t: t, ns: system}
	for _, part := range suite.parts {
		sys.kubectl("rollout", "status", part, "--timeout="+seconds(podLimit))
	}
}

// sceneNodeIsReplaced: a node loses power under a writer and never comes back. Its
// disk, with every write that was acknowledged, is that of the node that takes its place.
func sceneNodeIsReplaced(t *testing.T) {
	k, sys := newKube(t, "e2e-replaced"), kube{t: t, ns: system}
	old := suite.cluster.Node(2)
	f := k.startWriter(old)
	pvc := poolClaim(sys, old)

	replacement := replace(t, old, f.stop)
	if replacement == nil {
		return
	}
	awaitPool(t, pvc, replacement)
	k.kubectl("delete", "pod/writer", "--ignore-not-found", "--grace-period=0", "--force")
	k.apply(on(replacement.Name(), writerPod{name: "writer", claim: "data"}))
	k.waitReady("writer")
	checkRecords(k, "writer", "writer", "/data/records", f.acked())
	checkDisk(t, sys.get("pv/"+sys.get("pvc/"+pvc, "{.spec.volumeName}"), "{.spec.csi.volumeHandle}"), replacement)
}

// replace cuts a node's power, tells Kubernetes that it is gone for good, and boots
// another in its place; after is called when the power is off.
func replace(t *testing.T, old *lab.Node, after func()) *lab.Node {
	t.Helper()
	sys := kube{t: t, ns: system}
	ctx, cancel := inTime(t, 15*time.Minute)
	defer cancel()
	if err := old.PowerCut(ctx); err != nil {
		t.Error(err)
		return nil
	}
	after()
	// Without the taint Kubernetes waits six minutes until it takes disks from a node that
	// used them.
	sys.kubectl("taint", "node", old.Name(), "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
	added, err := old.Replace(ctx)
	if err == nil {
		err = added.WaitReady(ctx, 5*time.Minute)
	}
	if err != nil {
		t.Error(err)
		return nil
	}
	eventually(t, 10*time.Minute, "no volume is attached to "+old.Name(), func() error {
		if out := sys.kubectl("get", "volumeattachments", "-o", `jsonpath={.items[?(@.spec.nodeName=="`+old.Name()+`")].metadata.name}`); out != "" {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	sys.kubectl("delete", "node", old.Name())
	return added
}
