//go:build e2e

package e2e

import "testing"

// TestLocalPools plays what takes longer in the storage mode local.
func TestLocalPools(t *testing.T) {
	begin(t, threeNodes)
	for _, s := range []scene{
		{"Configuration", sceneConfiguration},
		{"Drain", sceneLocalDrain},
	} {
		t.Run(s.name, s.play)
	}
}

// threeCloudNodes have their pools on disks of the cloud from the beginning.
var threeCloudNodes = site{
	nodes: 3, cloudDisks: true, other: next,
	install: cloudPools.install,
	again:   (*world).meetOperator,
	parts:   threeNodes.parts,
}

// TestCloudNodes plays what takes longer in the storage mode pvcPerNode: nodes come and
// go, and etcd does. Each scene goes on from the last one's end.
func TestCloudNodes(t *testing.T) {
	begin(t, threeCloudNodes)
	for _, s := range []scene{
		{"NodeComesAndGoes", sceneNodeComesAndGoes},
		{"BrokenImage", sceneBrokenImage},
		{"EtcdLosesAMember", sceneEtcdLosesAMember},
		{"EtcdIsLost", sceneEtcdIsLost},
		{"EachNodeIsReplaced", sceneEachNodeIsReplaced},
		{"AllNodesAreReplaced", sceneAllNodesAreReplaced},
	} {
		if !t.Run(s.name, s.play) {
			return
		}
	}
}
