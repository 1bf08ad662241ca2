//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// Scene 1: claims with and without annotations; one dataset for a dot; sizes
// that hold.
func sceneVolumes(t *testing.T) {
	k := newKube(t, "e2e-volumes")
	k.apply(
		claim{name: "orders", dot: "shop", subdot: "orders", size: "32Mi"},
		claim{name: "files", dot: "shop", subdot: "files", size: "128Mi"},
		claim{name: "whole", dot: "shop", subdot: "__root__", size: "512Mi"},
		claim{name: "plain", mode: "ReadWriteOncePod"},
		pod{name: "root", claims: []string{"orders", "plain", "whole"}},
		pod{name: "user", claims: []string{"files"}, uid: 1000},
	)
	k.waitReady("root", "user")
	k.exec("root", "echo from root > /orders/a && echo plain > /plain/a && sync")
	k.exec("user", "echo from uid 1000 > /files/a")

	if got := datasetsOf(t, "shop"); len(got) != 1 {
		t.Errorf("the dot of three claims has the datasets %v, want one", got)
	}
	if got := datasetsOf(t, "plain"); len(got) != 1 {
		t.Errorf("the claim without annotations has the datasets %v, want one, of a dot of its own name", got)
	}
	if got := len(showDot(t, "shop").Volumes); got != 3 {
		t.Errorf("dm show knows %d volumes of the dot, want 3", got)
	}

	for _, c := range []struct{ pod, path, want string }{
		{"root", "/orders", "32768"}, {"root", "/plain", "65536"}, {"root", "/whole", "524288"}, {"user", "/files", "131072"},
	} {
		if got := k.dfKiB(c.pod, c.path); got != c.want {
			t.Errorf("df shows %s KiB at %s, want the claim's size, %s", got, c.path, c.want)
		}
	}
	if got, want := k.exec("root", "cat /whole/orders/a /whole/files/a"), "from root\nfrom uid 1000"; got != want {
		t.Errorf("__root__ shows %q, want %q", got, want)
	}
	if got := k.exec("user", "stat -c %g /files"); got != "1000" {
		t.Errorf("fsGroup made group %s the owner, want 1000", got)
	}
	if out, err := k.tryExec("user", "cat /orders/a"); err == nil {
		t.Errorf("a pod sees a subdot that it did not claim: %s", out)
	}
	// The second pod of a ReadWriteOncePod claim is not let in.
	k.apply(pod{name: "second", claims: []string{"plain"}})
	k.waitEvent(volumeLimit, "pod/second", "FailedScheduling", "ReadWriteOncePod")
	overfill(t, k)
}

// overfill writes into a full subdot: the quota counts with each transaction
// group, so a few seconds pass before it stops the writer.
func overfill(t *testing.T, k kube) {
	t.Helper()
	out := k.exec("root", `for i in $(seq 200); do dd if=/dev/urandom of=/orders/fill$i bs=1M count=2 2>&1 || break; done | grep -v records; du -sm /orders | cut -f1`)
	if !strings.Contains(strings.ToLower(out), "disk quota exceeded") {
		t.Errorf("writing past the claim's size does not fail with %q: %s", "disk quota exceeded", out)
	}
	k.exec("user", "dd if=/dev/urandom of=/files/b bs=1M count=8 && sync && rm /files/b")
	k.exec("root", "dd if=/dev/urandom of=/plain/b bs=1M count=8 && sync && rm /plain/b")
	if got := k.exec("root", "cat /orders/a"); got != "from root" {
		t.Errorf("the full subdot has lost a file: %q", got)
	}
	if got := k.exec("user", "cat /files/a"); got != "from uid 1000" {
		t.Errorf("the neighbour of the full subdot has lost a file: %q", got)
	}
	// A full subdot can be emptied again.
	k.exec("root", "rm /orders/fill*")
}
