//go:build e2e

package e2e

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

// sceneNodeIsReplaced: a node loses power under a writer and never comes back. Its
// disk, with every write that was acknowledged, is that of the node that takes its place.
func sceneNodeIsReplaced(t *testing.T) {
	k, sys := newKube(t, "e2e-replaced"), kube{t: t, ns: system}
	old := suite.cluster.Node(2)
	f := k.startWriter(old)
	pvc := poolClaim(sys, old)

	replacement := replace(t, old, f.stop, nothing)
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

func nothing() {}

// sceneEachNodeIsReplaced: one node after another loses power for good, and another
// takes its place and its disk; where it is long in coming, from a node that served that
// meanwhile. A pod writes on the first, and then on the one that takes its place.
func sceneEachNodeIsReplaced(t *testing.T) {
	k, sys := newKube(t, "e2e-each"), kube{t: t, ns: system}
	kept := keepOnEachNode(t, "e2e-each-kept")
	nodes := suite.cluster.Nodes()
	f := k.startWriter(nodes[0])
	before := readHistories(t)
	for i, old := range nodes {
		waitAcks(t, f, 10)
		pvc := poolClaim(sys, old)
		off, dead := nothing, nothing
		switch i {
		case 0:
			off = f.stop
		case 1: // none takes its place for so long that another serves its pool beside its own
			dead = func() { awaitServed(t, pvc, awaitTaker(t, pvc, old.Name())) }
		}
		replacement := replace(t, old, off, dead)
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

// sceneAllNodesAreReplaced: all nodes lose power at once, for good. The disks, etcd's
// among them, are those of the nodes that come.
func sceneAllNodesAreReplaced(t *testing.T) {
	kept := keepOnEachNode(t, "e2e-all-kept")
	pools := strings.Fields(kube{t: t, ns: system}.kubectl("get", "pvc", "-l", "dotmesh.io/role=pool", "-o", "jsonpath={.items[*].metadata.name}"))
	kept.commit(t, "before the power went")
	before := readHistories(t)
	var all sync.WaitGroup
	for _, old := range suite.cluster.Nodes() {
		all.Go(func() { replace(t, old, nothing, nothing) })
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
