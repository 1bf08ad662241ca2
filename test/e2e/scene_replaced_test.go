//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// keptDots are dots with commits, one on the pool of each node.
type keptDots struct {
	k    kube
	dots []keptDot
}

type keptDot struct {
	name    string
	pool    string   // the PVC that its pool lies on
	commits []string // their messages
}

// keepOnEachNode makes the dots, each with a file, a VolumeSnapshot and a pod.
func keepOnEachNode(t *testing.T, namespace string) *keptDots {
	t.Helper()
	kept := &keptDots{}
	sys := kube{t: t, ns: system}
	for i, node := range suite.cluster.Nodes() {
		d := keptDot{name: fmt.Sprintf("%s-%d", namespace, i), pool: poolClaim(sys, node), commits: []string{"first of " + namespace}}
		t.Cleanup(func() { deleteDot(t, d.name) }) // dm commits to them, so they stay after their namespace
		kept.dots = append(kept.dots, d)
	}
	kept.k = newKube(t, namespace)
	for i, node := range suite.cluster.Nodes() {
		name := kept.dots[i].name
		kept.k.apply(claim{name: name, dot: name}, on(node.Name(), pod{name: name, claims: []string{name}}))
	}
	for _, d := range kept.dots {
		kept.k.waitReady(d.name)
		kept.k.exec(d.name, "echo "+d.name+" > /"+d.name+"/file && sync")
		kept.k.apply(snapshot{name: d.name, claim: d.name, message: d.commits[0]})
		kept.k.waitSnapshot(d.name)
	}
	return kept
}

// commit commits each.
func (kept *keptDots) commit(t *testing.T, message string) {
	t.Helper()
	for i := range kept.dots {
		d := &kept.dots[i]
		dm(t, "commit", d.name, "-m", message)
		d.commits = append(d.commits, message)
	}
}

// awaitKnown waits until the registry knows each.
func (kept *keptDots) awaitKnown(t *testing.T) {
	t.Helper()
	eventually(t, bootLimit, "the registry knows all dots", func() error {
		code, out, errOut := tryDM(t, "list")
		for _, d := range kept.dots {
			if code != 0 || !strings.Contains(out, d.name) {
				return fmt.Errorf("dm list ends with %d: %s%s", code, out, errOut)
			}
		}
		return nil
	})
}

// check sees that each is where its pool is, with its file and its commits, and that
// the first commit can be restored.
func (kept *keptDots) check(t *testing.T) {
	t.Helper()
	sys := kube{t: t, ns: system}
	for i, d := range kept.dots {
		node := sys.get("pvc/"+d.pool, `{.metadata.annotations.dotmesh\.io/node}`)
		restored := fmt.Sprintf("%s-restored-%d", d.name, len(d.commits))
		kept.k.kubectl("delete", "pod", d.name, "--ignore-not-found", "--grace-period=0", "--force")
		kept.k.apply(on(node, pod{name: d.name, claims: []string{d.name}}),
			claim{name: restored, fromSnapshot: d.name}, on(node, pod{name: restored, claims: []string{restored}}))
		kept.k.waitReady(d.name, restored)
		for _, of := range []string{d.name, restored} {
			if got := kept.k.exec(of, "cat /"+of+"/file"); got != d.name {
				t.Errorf("%s, on pool %s, holds %q", of, d.pool, got)
			}
		}
		var messages []string
		for _, c := range logOf(t, d.name) {
			messages = append(messages, c.Message)
		}
		for _, want := range d.commits {
			if !slices.Contains(messages, want) {
				t.Errorf("dot %d has lost the commit %q: %q", i, want, messages)
			}
		}
	}
}

// sceneEachNodeIsReplaced: one node after another loses power for good, and another
// takes its place and its disk. A pod writes on the first, and then on the one that
// takes its place.
func sceneEachNodeIsReplaced(t *testing.T) {
	k, sys := newKube(t, "e2e-each"), kube{t: t, ns: system}
	kept := keepOnEachNode(t, "e2e-each-kept")
	nodes := suite.cluster.Nodes()
	f := k.startWriter(nodes[0])
	before := readHistories(t)
	for i, old := range nodes {
		waitAcks(t, f, 10)
		pvc := poolClaim(sys, old)
		after := func() {}
		if i == 0 {
			after = f.stop
		}
		replacement := replace(t, old, after)
		if replacement == nil {
			return
		}
		awaitPool(t, pvc, replacement)
		if i == 0 {
			k.kubectl("delete", "pod/writer", "--ignore-not-found", "--grace-period=0", "--force")
			k.apply(on(replacement.Name(), writerPod{name: "writer", claim: "data"}))
			k.waitReady("writer")
			checkRecords(k, "writer", "writer", "/data/records", f.acked())
			f = follow(t, k, "writer")
		}
		awaitEtcd(t)
	}
	waitAcks(t, f, 10)
	checkWriter(t, readWriter(k, "writer", "writer"), readWriter(k, "writer", "control"))
	checkRecords(k, "writer", "writer", "/data/records", f.acked())
	inSystem(t, bootLimit, (*world).trust) // dm knew the first node's address
	before.check(t)
	kept.check(t)
	checkMisuses(t)
}

// awaitPool waits until a node serves the pool on a PVC.
func awaitPool(t *testing.T, pvc string, node *lab.Node) {
	t.Helper()
	sys := kube{t: t, ns: system}
	eventually(t, 15*time.Minute, node.Name()+" serves the pool on "+pvc, func() error {
		if got := sys.get("pvc/"+pvc, `{.metadata.annotations.dotmesh\.io/node}`); got != node.Name() {
			return fmt.Errorf("it is assigned to %q", got)
		}
		_, err := sys.try(callLimit, "wait", "--for=condition=Ready", "--timeout=60s", "pod/server-"+pvc+"-node-"+node.Name())
		return err
	})
}

// sceneAllNodesAreReplaced: all nodes lose power at once, for good. The disks, etcd's
// among them, are those of the nodes that come.
func sceneAllNodesAreReplaced(t *testing.T) {
	kept := keepOnEachNode(t, "e2e-all-kept")
	pools := strings.Fields(kube{t: t, ns: system}.kubectl("get", "pvc", "-l", "dotmesh.io/role=pool", "-o", "jsonpath={.items[*].metadata.name}"))
	kept.commit(t, "before the power went")
	before := readHistories(t)
	var all sync.WaitGroup
	for _, old := range suite.cluster.Nodes() {
		all.Go(func() { replace(t, old, func() {}) })
	}
	all.Wait()
	if t.Failed() {
		return
	}
	inSystem(t, bootLimit, func(w *world, ctx context.Context) error { return w.operated(ctx, w.cluster.Nodes()) })
	awaitEtcd(t)
	for _, pvc := range pools {
		eventually(t, 15*time.Minute, "the pool on "+pvc+" is served", func() error {
			sys := kube{t: t, ns: system}
			_, err := sys.try(callLimit, "wait", "--for=condition=Ready", "--timeout=60s", "pod", "-l", serverSelector+",dotmesh.io/pvc="+pvc)
			return err
		})
	}
	before.check(t)
	kept.check(t)
	checkMisuses(t)
}
