//go:build e2e

package e2e

import "testing"

// threeLocalNodes each have a pool on their own disk.
var threeLocalNodes = site{nodes: 3, install: localPools.install(), again: (*world).meetOperator, parts: operated}

// TestLocalPools plays what takes longer in the storage mode local.
func TestLocalPools(t *testing.T) {
	begin(t, threeLocalNodes)
	for _, s := range []scene{
		{"Writes", func(t *testing.T) { useDotsOn(t, suite.cluster.Nodes()) }},
		{"Configuration", sceneConfiguration},
		{"Drain", sceneLocalDrain},
		{"InstalledAgain", sceneInstalledAgain(localPools)},
	} {
		t.Run(s.name, s.play)
	}
}

// threeCloudNodes have their pools on disks of the cloud from the beginning.
var threeCloudNodes = site{
	nodes: 3, cloudDisks: true, other: next,
	install: cloudPools.install(),
	again:   (*world).meetOperator,
	parts:   operated,
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
		{"InstalledAgain", sceneInstalledAgain(cloudPools)},
	} {
		if !t.Run(s.name, s.play) {
			return
		}
	}
}
