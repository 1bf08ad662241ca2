//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// Scene 10: the registry is lost and written again from the pool, as deploy/README.md
// says. Who writes does not notice, and what Kubernetes has goes on to work without
// being touched.
func sceneRecovery(t *testing.T) {
	t.Cleanup(func() { deleteDot(t, "survivor") }) // dm commits to it, so it stays
	k := newKube(t, "e2e-recovery")
	k.apply(
		claim{name: "data", dot: "survivor", subdot: "data"}, writerPod{name: "writer", claim: "data"},
		claim{name: "beside", dot: "survivor", subdot: "beside"}, pod{name: "beside", claims: []string{"beside"}},
	)
	k.waitReady("writer", "beside")
	k.exec("beside", "seq 1000 > /beside/file && sync")
	k.apply(snapshot{name: "before", claim: "beside", message: "before the loss"})
	k.waitSnapshot("before")
	k.apply(claim{name: "restored", fromSnapshot: "before"}, pod{name: "restored", claims: []string{"restored"}})
	k.waitReady("restored")
	k.remove("pod/beside")
	f := follow(t, k, "writer")
	waitAcks(t, f, 5)
	dots, volumes, commits := dm(t, "list", "-o", "name"), volumesOfPVs(k), logOf(t, "survivor")

	lost := time.Now()
	loseRegistry(t)

	if now := volumesOfPVs(k); now != volumes {
		t.Errorf("the recovery touched PersistentVolumes:\n%s\nbefore\n%s", now, volumes)
	}
	if now := dm(t, "list", "-o", "name"); now != dots {
		t.Errorf("dm list shows %q, and before the loss %q", now, dots)
	}
	if now := logOf(t, "survivor"); len(now) != 1 || len(commits) != 1 || now[0].ID != commits[0].ID || now[0].Message != "before the loss" || now[0].Handle != commits[0].Handle {
		t.Errorf("dm log shows %+v, and before the loss %+v", now, commits)
	}
	useRecovered(t, k)
	waitAcks(t, f, 5)
	checkWriter(t, readWriter(k, "writer", "writer").Since(lost), readWriter(k, "writer", "control"))
	checkRecords(k, "writer", "writer", "/data/records", f.acked())
}

// volumesOfPVs are the handles and versions of the PersistentVolumes, oldest first.
func volumesOfPVs(k kube) string {
	k.t.Helper()
	return k.kubectl("get", "pv", "--sort-by=.metadata.creationTimestamp",
		"-o", `jsonpath={range .items[?(@.spec.claimRef.namespace=="`+k.ns+`")]}{.metadata.name} {.metadata.resourceVersion} {.spec.csi.volumeHandle}{"\n"}{end}`)
}

// useRecovered asks for everything that needs the registry.
func useRecovered(t *testing.T, k kube) {
	t.Helper()
	dm(t, "commit", "survivor", "-m", "after the loss")
	k.apply(
		pod{name: "again", claims: []string{"beside"}},
		snapshot{name: "after", claim: "data", message: "by Kubernetes"},
		claim{name: "old", fromSnapshot: "before"}, claim{name: "neighbour", fromSnapshot: "before", subdot: "data"},
		claim{name: "new", dot: "survivor", subdot: "new"},
		pod{name: "more", claims: []string{"old", "neighbour", "new"}},
	)
	k.kubectl("patch", "pvc/data", "--type=merge", "-p", `{"spec":{"resources":{"requests":{"storage":"96Mi"}}}}`)
	k.waitSnapshot("after")
	k.waitReady("again", "more")
	for pod, file := range map[string]string{"again": "/beside/file", "more": "/old/file", "restored": "/restored/file"} {
		if got := k.exec(pod, "wc -l < "+file); got != "1000" {
			t.Errorf("%s in pod %s has %s lines, want 1000", file, pod, got)
		}
	}
	k.exec("more", "test -s /neighbour/records") // the commit is of the whole dot
	k.exec("more", "echo new > /new/file && sync")
	k.wait(volumeLimit, "jsonpath={.status.capacity.storage}=96Mi", "pvc/data")
	if got := len(datasetsOf(t, "survivor")); got != 1 {
		t.Errorf("the dot has %d datasets, want one", got)
	}
	if got := len(showDot(t, "survivor").Volumes); got != 3 {
		t.Errorf("dm show knows %d volumes of the dot, want 3", got)
	}
}

// loseRegistry takes etcd's data away and has the server write it again.
func loseRegistry(t *testing.T) {
	t.Helper()
	ctx, cancel := inTime(t, 10*time.Minute)
	defer cancel()
	sys := kube{t: t, ns: system}
	sys.kubectl("scale", "deployment/dotmesh-server", "statefulset/dotmesh-etcd", "--replicas=0")
	for _, selector := range []string{serverSelector, "app.kubernetes.io/component=etcd"} {
		if _, err := sys.try(podLimit, "wait", "--for=delete", "pod", "-l", selector, "--timeout="+seconds(podLimit)); err != nil {
			t.Fatal(err)
		}
	}
	onNode(t, "mv /var/lib/dotmesh/etcd /var/lib/dotmesh/etcd.old")
	sys.kubectl("patch", "deployment", "dotmesh-server", "--type=json", "-p",
		`[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--recover"}]`)
	sys.kubectl("scale", "statefulset/dotmesh-etcd", "deployment/dotmesh-server", "--replicas=1")
	if err := suite.ready(ctx); err != nil {
		t.Fatal(err)
	}
	// The next apply takes --recover out, and disturbs nothing.
	sys.kubectl("apply", "-k", filepath.Join(suite.repo, "deploy/overlays/lab"))
	if err := suite.ready(ctx); err != nil {
		t.Fatal(err)
	}
	onNode(t, "rm -r /var/lib/dotmesh/etcd.old")
	eventually(t, time.Minute, "dm is answered", func() error { // when kube-proxy knows of the new pod
		if code, _, errOut := tryDM(t, "version"); code != 0 {
			return fmt.Errorf("exit code %d: %s", code, errOut)
		}
		return nil
	})
}
