//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// Scene 7: a dot belongs to the Kubernetes namespace of the claim that made it.
func sceneNamespaces(t *testing.T) {
	t.Cleanup(func() { deleteDot(t, "team") })
	owner, other := newKube(t, "e2e-owner"), newKube(t, "e2e-other")
	owner.apply(claim{name: "mine", dot: "private", class: "e2e-immediate"})
	owner.waitBound("mine")

	other.apply(claim{name: "theirs", dot: "private", subdot: "sneak", class: "e2e-immediate"})
	other.waitEvent(volumeLimit, "pvc/theirs", "ProvisioningFailed", "admin/private", "e2e-owner", "dm dot share admin/private e2e-other")
	if got := len(showDot(t, "private").Volumes); got != 1 {
		t.Errorf("the dot has %d volumes after a refusal, want 1", got)
	}
	// A dot that dm made belongs to nobody until it is shared.
	dm(t, "init", "team")
	other.apply(claim{name: "team", dot: "team", class: "e2e-immediate"})
	other.waitEvent(volumeLimit, "pvc/team", "dm dot share admin/team e2e-other")

	// The commands that the events tell are the ones that help.
	dm(t, "dot", "share", "admin/private", "e2e-other")
	dm(t, "dot", "share", "admin/team", "e2e-other")
	other.waitBound("theirs", "team")
	if got := datasetsOf(t, "private"); len(got) != 1 {
		t.Errorf("the shared dot has the datasets %v, want one", got)
	}
	// A claim that names no dot never gets another's, though the name is taken.
	other.apply(claim{name: "private", class: "e2e-immediate"})
	other.waitBound("private")
	if got := len(showDot(t, "private").Volumes); got != 2 {
		t.Errorf("the dot has %d volumes, want 2: a claim of the same name joined it unasked", got)
	} // A StorageClass can open all dots to its claims.
	t.Cleanup(func() { removeGlobal(t, "storageclass/e2e-cross") })
	other.applyYAML(crossClass)
	owner.apply(claim{name: "closed", dot: "closed", class: "e2e-immediate"})
	owner.waitBound("closed")
	other.apply(claim{name: "across", dot: "closed", class: "e2e-cross"})
	other.waitBound("across")
	if got := len(datasetsOf(t, "closed")); got != 1 {
		t.Errorf("the dot that a claim of another namespace joined has %d datasets, want one", got)
	}
	attachElsewhere(t, owner, "mine")
}

// attachElsewhere asks csi-attacher for a volume on a node that is not the one that
// has its dot, and has no server (test/cluster has two servers).
func attachElsewhere(t *testing.T, k kube, claim string) {
	t.Cleanup(func() {
		for _, object := range []string{"volumeattachment/e2e-elsewhere", "csinode/elsewhere", "node/elsewhere"} {
			removeGlobal(t, object)
		}
	})
	k.applyYAML(elsewhere(k.get("pvc/"+claim, "{.spec.volumeName}")))
	here := suite.cluster.Node(1).Name()
	eventually(t, volumeLimit, "attaching elsewhere is refused", func() error {
		said := k.get("volumeattachment/e2e-elsewhere", "{.status.attached} {.status.attachError.message}")
		if want := "is on node " + here + ": pods that use it must run there"; !strings.Contains(said, "false ") || !strings.Contains(said, want) {
			return fmt.Errorf("%q; want %q", said, want)
		}
		return nil
	})
}
