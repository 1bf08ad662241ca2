//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Scene 6: the node loses power while pods write. After the boot the pod runs
// again by itself with every acknowledged write; a commit taken before anything
// mounted a volume again holds them too.
func scenePowerCut(t *testing.T) {
	k := newKube(t, "e2e-powercut")
	k.apply(
		claim{name: "stays", dot: "stays"}, writerPod{name: "stays", claim: "stays"},
		claim{name: "goes", dot: "goes"}, writerPod{name: "goes", claim: "goes"},
	)
	k.waitReady("stays", "goes")
	stays, goes := follow(t, k, "stays"), follow(t, k, "goes")
	waitAcks(t, stays, 30)
	waitAcks(t, goes, 30)
	starts := len(readWriter(k, "stays", "writer").Starts)

	node := suite.cluster.Node(1)
	ctx, cancel := inTime(t, 10*time.Minute)
	defer cancel()
	if err := node.PowerCut(ctx); err != nil {
		t.Fatal(err)
	}
	stays.stop()
	goes.stop()
	// One of the pods is deleted while the node is off: nothing will mount its
	// volume after the boot.
	k.kubectl("delete", "pod/goes", "--grace-period=0", "--force")
	k.apply(snapshot{name: "after", claim: "goes", message: "before anything mounted it"})
	if err := node.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	if err := node.WaitReady(ctx, podLimit); err != nil {
		t.Fatal(err)
	}
	if err := suite.ready(ctx); err != nil {
		t.Fatal(err)
	}
	// Kubernetes may still call our pods ready, as they were before the cut: they
	// have yet to start.
	k.wait(podLimit+volumeLimit, "jsonpath={.status.readyToUse}=true", "volumesnapshot/after")
	if mounted := onNode(t, "grep -c "+datasetsOf(t, "goes")[0]+" /proc/mounts || true"); mounted != "0" {
		t.Errorf("the volume was mounted before the snapshot was taken: %s mounts", mounted)
	}

	// What the registry of Kubernetes says of the pod may still be of before.
	restarted := `{.status.containerStatuses[?(@.name=="writer")].restartCount} {.status.containerStatuses[?(@.name=="writer")].ready}`
	eventually(t, podLimit, "the pod runs again", func() error {
		if now := k.get("pod/stays", restarted); now != "1 true" {
			return fmt.Errorf("restarts and readiness are %q", now)
		}
		return nil
	})
	again := follow(t, k, "stays")
	waitAcks(t, again, 10)
	after := readWriter(k, "stays", "writer")
	if len(after.Starts) == 0 || !strings.Contains(strings.Join(after.Starts, "\n"), "fs="+zfsMagic) {
		t.Errorf("after the boot the writer says %q (before: %d starts)", after.Starts, starts)
	}
	for _, s := range append(after.Starts, after.Errors...) {
		if !strings.Contains(s, "fs="+zfsMagic) {
			t.Errorf("after the boot the writer met %s", s)
		}
	}
	checkRecords(k, "stays", "writer", "/data/records", stays.acked())

	k.apply(claim{name: "restored", fromSnapshot: "after"}, pod{name: "reader", claims: []string{"restored"}})
	k.waitReady("reader")
	checkRecords(k, "reader", "main", "/restored/records", goes.acked())
	noPlainDirectories(t)
}

// noPlainDirectories looks below the mount points of volumes: a pod that was
// given the directory instead of the dataset would have written there.
func noPlainDirectories(t *testing.T) {
	t.Helper()
	found := onNode(t, `mkdir -p /run/below && mount --bind /var/lib/kubelet /run/below &&
		find /run/below/plugins/kubernetes.io/csi /run/below/pods/*/volumes/kubernetes.io~csi -name records 2>/dev/null; umount /run/below; rmdir /run/below`)
	if found != "" {
		t.Errorf("records were written below the mount points: %s", found)
	}
}
