//go:build e2e

package e2e

import "testing"

type scene struct {
	name string
	play func(t *testing.T)
}

// TestScenes plays the scenes. Their numbers are names to pick them by. What disturbs
// nobody is played at once, as many as -parallel allows; what stops servers or
// cuts the power comes after, one by one, so that what is left of the first is not
// laid to the others.
func TestScenes(t *testing.T) {
	begin(t, earlier)
	if !t.Run("0Upgrade", sceneUpgrade) {
		return
	}
	t.Run("AtOnce", func(t *testing.T) {
		for _, s := range []scene{
			{"1Volumes", sceneVolumes},
			{"2Commits", sceneCommits},
			{"3Deletion", sceneDeletion},
			{"4Expansion", sceneExpansion},
			{"7Namespaces", sceneNamespaces},
		} {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.play(t)
			})
		}
	})
	for _, s := range []scene{
		{"3NothingIsLeft", sceneNothingIsLeft},
		{"9BadInput", sceneBadInput},
		{"5Outages", sceneOutages},
		{"6PowerCut", scenePowerCut},
		{"10Recovery", sceneRecovery},
		{"NothingIsLeftAtTheEnd", sceneNothingIsLeft},
		{"NoVerbIsUnused", noVerbIsUnused("dotmesh-controller", "dotmesh-lab.yaml")},
	} {
		t.Run(s.name, s.play)
	}
}

// TestPowerCut plays one scene alone, for disks that lose what was not flushed
// (E2E_VOLATILE).
func TestPowerCut(t *testing.T) {
	begin(t, static)
	scenePowerCut(t)
}
