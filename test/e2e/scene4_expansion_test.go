//go:build e2e

package e2e

import (
	"fmt"
	"testing"
)

// Scene 4: a volume grows while a pod writes to it.
func sceneExpansion(t *testing.T) {
	k := newKube(t, "e2e-expansion")
	k.apply(claim{name: "data", size: "32Mi"}, pod{name: "main", claims: []string{"data"}})
	k.waitReady("main")
	started := k.get("pod/main", "{.status.containerStatuses[0].containerID}")
	if got := k.dfKiB("main", "/data"); got != "32768" {
		t.Errorf("df shows %s KiB, want 32768", got)
	}
	k.kubectl("patch", "pvc/data", "-p", `{"spec":{"resources":{"requests":{"storage":"96Mi"}}}}`)
	k.wait(volumeLimit, "jsonpath={.status.capacity.storage}=96Mi", "pvc/data")
	eventually(t, volumeLimit, "df shows the new size", func() error {
		if got := k.dfKiB("main", "/data"); got != "98304" {
			return fmt.Errorf("df shows %s KiB, want 98304", got)
		}
		return nil
	})
	k.exec("main", "dd if=/dev/urandom of=/data/big bs=1M count=64 && sync && rm /data/big")
	if got := k.get("pod/main", "{.status.containerStatuses[0].containerID}"); got != started {
		t.Error("the pod was started again to grow its volume")
	}
}
