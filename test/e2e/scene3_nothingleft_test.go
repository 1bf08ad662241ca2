//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// All other scenes have removed what they made, and nothing is left of
// it anywhere, nor waits for a finalizer.
func sceneNothingIsLeft(t *testing.T) {
	nothingLeft(t)
	if mounts := onNode(t, "grep -c ' zfs ' /proc/mounts || true"); mounts != "0" {
		t.Errorf("%s ZFS mounts are left on the node:\n%s", mounts, onNode(t, "grep ' zfs ' /proc/mounts"))
	}
	for _, args := range [][]string{{"list", "-o", "name"}, {"list", "--released", "-o", "name"}} {
		if left := strings.TrimSpace(dm(t, args...)); left != "" {
			t.Errorf("dm %s still shows %s", strings.Join(args, " "), left)
		}
	}
}
