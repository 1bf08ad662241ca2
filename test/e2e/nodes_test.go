//go:build e2e

package e2e

import (
	"context"
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
