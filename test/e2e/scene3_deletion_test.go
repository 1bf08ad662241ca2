//go:build e2e

package e2e

import (
	"fmt"
	"testing"
)

// Scene 3: a claim goes before its snapshot and what was restored from it;
// their datasets go with the last.
func sceneDeletion(t *testing.T) {
	k := newKube(t, "e2e-deletion")
	k.apply(claim{name: "source"}, pod{name: "one", claims: []string{"source"}})
	k.waitReady("one")
	k.exec("one", "seq 1000 > /source/data && sync")
	k.apply(snapshot{name: "snap", claim: "source", message: "kept"})
	k.waitSnapshot("snap")
	k.apply(claim{name: "restored", fromSnapshot: "snap"}, pod{name: "two", claims: []string{"restored"}})
	k.waitReady("two")

	k.remove("pod/one", "pvc/source")
	if got := k.exec("two", "wc -l < /restored/data"); got != "1000" {
		t.Errorf("after its source was deleted the restored volume has %s lines, want 1000", got)
	}
	// The snapshot outlives its source: it can still be restored, and what was
	// restored before can be mounted again.
	k.remove("pod/two")
	k.apply(claim{name: "later", fromSnapshot: "snap"}, pod{name: "three", claims: []string{"restored", "later"}})
	k.waitReady("three")
	if got := k.exec("three", "cat /restored/data /later/data | wc -l"); got != "2000" {
		t.Errorf("the restored volumes have %s lines, want 2000", got)
	}
	// The snapshot goes while a volume that began from it is in use.
	k.remove("volumesnapshot/snap")
	k.exec("three", "echo more >> /later/data && sync && test $(wc -l < /later/data) = 1001")
	k.remove("pod/three", "pvc/restored", "pvc/later")
	eventually(t, volumeLimit, "the datasets go", func() error {
		left := append(datasetsOf(t, "source"), append(datasetsOf(t, "restored"), datasetsOf(t, "later")...)...)
		if len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
}
