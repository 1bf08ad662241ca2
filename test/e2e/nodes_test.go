//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// operated is what is waited for in a deployment that the operator runs.
var operated = []string{"deploy/dotmesh-operator", "ds/dotmesh-node", "deploy/dotmesh-controller"}

// threeNodes have disks of a cloud, and begin with a pool of the first one's own.
var threeNodes = site{
	nodes: 3, cloudDisks: true, other: next,
	install: oneLocalPool.install(),
	again:   (*world).meetOperator,
	parts:   operated,
}

// next is an image of a version to come.
func next(context.Context, lab.Env) (lab.Build, error) {
	return lab.Build{Tag: nextImage, Version: nextVersion}, nil
}

// TestNodes plays what needs several nodes and the operator: in the storage mode
// local, and then, on the same machines, in pvcPerNode. Each scene goes on from the
// last one's end.
func TestNodes(t *testing.T) {
	begin(t, threeNodes)
	for _, s := range []scene{
		{"LocalWrites", sceneLocalWrites},
		{"LocalIsUninstalled", sceneLocalIsUninstalled},
		{"PVCPerNode", scenePVCPerNode},
		{"Interruptions", sceneInterruptions},
		{"NodeIsReplaced", sceneNodeIsReplaced},
		{"NoVerbIsUnused", noVerbIsUnused("dotmesh-operator", "dotmesh-pvc-per-node.yaml")},
	} {
		if !t.Run(s.name, s.play) {
			return
		}
	}
}

// on puts a pod on a node.
func on(node string, object fmt.Stringer) fmt.Stringer {
	return stringer(strings.Replace(object.String(), "spec:\n", "spec:\n  nodeSelector: {kubernetes.io/hostname: "+node+"}\n", 1))
}

type stringer string

func (s stringer) String() string { return string(s) }

// sceneLocalWrites: a pod writes, commits and restores on the one node that has a pool.
func sceneLocalWrites(t *testing.T) { useDotsOn(t, oneLocalPool.nodes(suite.cluster)) }

// useDotsOn has pods use dots: each dot lies on the pool of the node that its pod was
// scheduled to, whichever server the controller asks; dm sees all of them.
func useDotsOn(t *testing.T, nodes []*lab.Node) {
	k := newKube(t, "e2e-nodes")
	var pods []string
	for i, node := range nodes {
		name := fmt.Sprintf("on%d", i+1)
		pods = append(pods, name)
		k.apply(claim{name: name, dot: name}, on(node.Name(), pod{name: name, claims: []string{name}}))
	}
	k.waitReady(pods...)
	for i, name := range pods {
		k.exec(name, "echo "+name+" > /"+name+"/file && sync")
		k.apply(snapshot{name: name, claim: name, message: "of " + name})
		k.apply(claim{name: name + "r", fromSnapshot: name}, on(nodes[i].Name(), pod{name: name + "r", claims: []string{name + "r"}}))
	}
	k.waitSnapshot(pods...)
	for i, name := range pods {
		k.waitReady(name + "r")
		if got := k.exec(name+"r", "cat /"+name+"r/file"); got != name {
			t.Errorf("the restore of %s holds %q", name, got)
		}
		ctx, cancel := inTime(t, callLimit)
		out, err := nodes[i].SSH(ctx, "zfs get -H -o value -s local -t filesystem -r io.dotmesh:name "+poolRoot)
		cancel()
		if err != nil || !strings.Contains(out, name) {
			t.Errorf("the dot %s is not on the pool of %s: %q, %v", name, nodes[i].Name(), out, err)
		}
		if got := logOf(t, name); len(got) != 1 {
			t.Errorf("dm log %s shows %v", name, got)
		}
	}
}
