//go:build e2e

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Scene 5: the server is killed again and again, etcd stands still for a minute:
// who writes does not notice. New requests fail clearly while etcd is away, and
// work after.
func sceneOutages(t *testing.T) {
	t.Cleanup(func() { deleteDot(t, "outages") }) // dm commits to it, so it stays
	k := newKube(t, "e2e-outages")
	k.apply(claim{name: "data", dot: "outages"}, writerPod{name: "writer", claim: "data"})
	k.waitReady("writer")
	f := follow(t, k, "writer")
	waitAcks(t, f, 5)

	for i := range 4 {
		killServer(t, i)
		waitAcks(t, f, 10)
	}
	withoutEtcd(t, k, f)
	// What was asked for meanwhile is done now, and so is something new.
	k.waitSnapshot("meanwhile")
	dm(t, "commit", "outages", "-m", "after the outage")
	waitAcks(t, f, 5)

	checkWriter(t, readWriter(k, "writer", "writer"), readWriter(k, "writer", "control"))
	checkRecords(k, "writer", "writer", "/data/records", f.acked())
	if got := k.get("pod/writer", "{.status.containerStatuses[*].restartCount}"); got != "0 0" {
		t.Errorf("the writer's containers were started again: %s", got)
	}
}

// killServer kills the process; every other time the pod goes with it, because
// kubelet waits longer and longer before it starts a container again.
func killServer(t *testing.T, round int) {
	t.Helper()
	sys := kube{t: t, ns: system}
	before := sys.kubectl("get", "pod", "-l", serverSelector, "-o", "jsonpath={.items[0].metadata.name} {.items[0].status.containerStatuses[0].restartCount}")
	name, count, _ := strings.Cut(before, " ")
	onNode(t, `pkill -KILL -f '^(/usr/local/bin/)?dotmesh server'`)
	if round%2 == 1 {
		sys.kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
		sys.wait(podLimit, "condition=Ready", "pod/"+successor(sys, name))
		return
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		t.Fatalf("restart count of the server: %q", before)
	}
	sys.wait(podLimit, fmt.Sprintf("jsonpath={.status.containerStatuses[0].restartCount}=%d", n+1), "pod/"+name)
	sys.wait(podLimit, "condition=Ready", "pod/"+name)
}

// successor waits for the pod that is made in the place of one that was deleted: the
// Deployment's own status may still be of the one before.
func successor(sys kube, before string) (name string) {
	sys.t.Helper()
	eventually(sys.t, podLimit, "another pod of the server", func() error {
		name = sys.kubectl("get", "pod", "-l", serverSelector, "-o", "jsonpath={.items[*].metadata.name}")
		if name == "" || strings.Contains(name, before) || strings.Contains(name, " ") {
			return fmt.Errorf("the pods are %q", name)
		}
		return nil
	})
	return name
}

// waitServer waits until the Deployment has its pod, ready.
func waitServer(t *testing.T) {
	t.Helper()
	sys := kube{t: t, ns: system}
	if _, err := sys.try(podLimit, "rollout", "status", "deploy/dotmesh-server", "--timeout="+seconds(podLimit)); err != nil {
		t.Fatalf("the server is not ready: %v", err)
	}
}

// withoutEtcd stops etcd for a minute and asks for things meanwhile.
func withoutEtcd(t *testing.T, k kube, f *follower) {
	t.Helper()
	sys := kube{t: t, ns: system}
	sys.kubectl("scale", "sts/dotmesh-etcd", "--replicas=0")
	sys.wait(podLimit, "delete", "pod/dotmesh-etcd-0")
	stopped := time.Now()
	k.apply(snapshot{name: "meanwhile", claim: "data", message: "asked for without etcd"})
	for time.Since(stopped) < time.Minute {
		asked := time.Now()
		code, out, errOut := tryDM(t, "commit", "outages", "-m", "without etcd", "--timeout", "20s")
		if code != noAnswer {
			t.Errorf("dm commit without etcd: exit code %d, want %d (no answer): %s%s", code, noAnswer, out, errOut)
		}
		if took := time.Since(asked); took > 45*time.Second {
			t.Errorf("dm commit without etcd took %v to fail", took)
		}
		waitAcks(t, f, 20)
	}
	if got := k.get("volumesnapshot/meanwhile", "{.status.readyToUse}"); got == "true" {
		t.Error("a VolumeSnapshot became ready without etcd")
	}
	sys.kubectl("scale", "sts/dotmesh-etcd", "--replicas=1")
	if _, err := sys.try(podLimit, "rollout", "status", "sts/dotmesh-etcd", "--timeout="+seconds(podLimit)); err != nil {
		t.Fatalf("etcd does not come back: %v", err)
	}
	waitServer(t)
}
