//go:build lab

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
	"github.com/dotmesh-io/dotmesh-csi/test/lab/clouddisk"
)

const diskClaims = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: block}
spec: {storageClassName: standard, volumeMode: Block, accessModes: [ReadWriteOnce], resources: {requests: {storage: 64Mi}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: files}
spec: {storageClassName: standard-immediate, accessModes: [ReadWriteOnce], resources: {requests: {storage: 64Mi}}}
`

const diskPod = `
apiVersion: v1
kind: Pod
metadata: {name: disks}
spec:
  nodeSelector: {kubernetes.io/hostname: %s}
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: dotmesh.io/toolbox:dev
    command: [sh, -c, "exec sleep 100000"]
    volumeMounts: [{name: files, mountPath: /files}]
    volumeDevices: [{name: block, devicePath: /dev/block}]
  volumes:
  - {name: files, persistentVolumeClaim: {claimName: files}}
  - {name: block, persistentVolumeClaim: {claimName: block}}
`

// cloudDisks is a cluster with the two claims above and the pod that uses them.
type cloudDisks struct {
	*testing.T
	ctx context.Context
	c   *lab.Cluster
}

// TestCloudDisk is the life of two cloud disks, a block device and a file system:
// a pod writes to both, they grow under it, and it finds what it wrote after a
// power cut, on another node, on the first again when the other has no power, and
// on a node that takes the other's place.
func TestCloudDisk(t *testing.T) {
	env := environment(t)
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Minute)
	defer cancel()
	if err := env.Build(ctx); err != nil {
		t.Fatal(err)
	}
	const name = "selftest-disk"
	cluster, err := lab.Start(ctx, env, lab.Config{Name: name, Nodes: 2, CloudDisk: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logCloudDisk(t, cluster)
		}
		pids := processesOf(t, name)
		if err := cluster.Down(context.WithoutCancel(ctx)); !errors.Is(err, lab.ErrMisused) {
			t.Errorf("down: got %v, want ErrMisused for the last detach", err)
		}
		checkGone(t, name, pids, cluster.Dir())
	})
	d := cloudDisks{t, ctx, cluster}
	first, second := cluster.Node(1), cluster.Node(2)
	if err := cluster.Apply(ctx, []byte(diskClaims)); err != nil {
		t.Fatal(err)
	}
	d.kubectl("wait", "--for=jsonpath={.status.phase}=Bound", "--timeout=3m", "pvc/files")
	if got := d.kubectl("get", "pvc/block", "-o", "jsonpath={.status.phase}"); got != "Pending" {
		t.Errorf("the claim that waits for its first consumer is %s before it has one", got)
	}

	d.runOn(first)
	d.exec("echo one >/files/f && printf one | dd of=/dev/block conv=fsync && sync")
	d.checkOn(first)
	d.grow()
	d.exec("echo two >>/files/f && printf two | dd of=/dev/block seek=200000 conv=fsync && sync")

	d.restart(first)
	d.checkOn(first)
	d.checkData()

	d.kubectl("delete", "pod/disks")
	d.runOn(second)
	d.checkOn(second)
	d.checkData()

	d.powerCut(second)
	d.runOn(first)
	d.checkOn(first)
	d.checkData()
	d.checkMisuses(0)

	third := d.replace(second)
	d.kubectl("delete", "pod/disks")
	d.runOn(third)
	d.checkOn(third)
	d.checkData()

	d.detachInUse(third)
	d.kubectl("delete", "pvc", "--all", "--timeout=3m")
	d.wait("no disk is left", func() error {
		left, err := filepath.Glob(filepath.Join(cluster.Dir(), "disks/disk*.*"))
		left = slices.DeleteFunc(left, func(f string) bool { return strings.HasSuffix(f, ".lock") })
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%v is left", left)
		}
		return err
	})
}

func logCloudDisk(t *testing.T, c *lab.Cluster) {
	logs, _ := filepath.Glob(filepath.Join(c.Dir(), "clouddisk*.log"))
	for _, path := range logs {
		b, _ := os.ReadFile(path)
		t.Logf("%s: %s", filepath.Base(path), b[max(0, len(b)-4000):])
	}
}

func (d cloudDisks) kubectl(args ...string) string {
	d.Helper()
	out, err := d.c.Kubectl(d.ctx, args...)
	if err != nil {
		d.Fatal(err)
	}
	return string(out)
}

// exec runs a command in the pod.
func (d cloudDisks) exec(command string) string {
	d.Helper()
	return d.kubectl("exec", "disks", "--", "sh", "-c", command)
}

// runOn starts the pod on a node.
func (d cloudDisks) runOn(n *lab.Node) {
	d.Helper()
	if err := d.c.Apply(d.ctx, fmt.Appendf(nil, diskPod, n.Name())); err != nil {
		d.Fatal(err)
	}
	if _, err := d.c.Kubectl(d.ctx, "wait", "--for=condition=Ready", "--timeout=8m", "pod/disks"); err != nil {
		events, _ := d.c.Kubectl(d.ctx, "describe", "pod,pvc,volumeattachments")
		d.Fatalf("%v\n%s", err, events)
	}
}

// checkOn sees that both disks are recorded on one node, and are seen in no other.
func (d cloudDisks) checkOn(n *lab.Node) {
	d.Helper()
	disks := d.disks()
	if len(disks) != 2 {
		d.Fatalf("got the disks %+v, want two", disks)
	}
	for _, disk := range disks {
		if disk.Node != n.Name() {
			d.Errorf("a disk is recorded on %q, want %s", disk.Node, n.Name())
		}
		for _, other := range d.c.Nodes() {
			if !other.Running() {
				continue
			}
			device := d.device(other, disk.ID)
			if (device != "") != (other.Name() == n.Name()) {
				d.Errorf("the disk that is on %s is %q on %s", n.Name(), device, other.Name())
			}
		}
	}
}

func (d cloudDisks) disks() []clouddisk.Disk {
	d.Helper()
	disks, err := d.c.Disks().List()
	if err != nil {
		d.Fatal(err)
	}
	return disks
}

// device is the name that a node's kernel has for a disk, or "".
func (d cloudDisks) device(n *lab.Node, id string) string {
	d.Helper()
	out, err := n.SSH(d.ctx, "grep -l "+id+" /sys/block/*/serial || true")
	if err != nil {
		d.Fatal(err)
	}
	if out = strings.TrimSpace(out); out == "" {
		return ""
	}
	return filepath.Base(filepath.Dir(out))
}

// grow makes both disks twice as large under the running pod.
func (d cloudDisks) grow() {
	d.Helper()
	before := d.exec("df -k /files | tail -n 1")
	for _, claim := range []string{"block", "files"} {
		d.kubectl("patch", "pvc/"+claim, "-p", `{"spec":{"resources":{"requests":{"storage":"128Mi"}}}}`)
	}
	for _, claim := range []string{"block", "files"} {
		d.kubectl("wait", "--for=jsonpath={.status.capacity.storage}=128Mi", "--timeout=5m", "pvc/"+claim)
	}
	if got := strings.TrimSpace(d.exec("blockdev --getsize64 /dev/block")); got != fmt.Sprint(128<<20) {
		d.Errorf("the block device has %s bytes, want 128 MiB", got)
	}
	blocks := func(df string) (n int) {
		_, _ = fmt.Sscan(strings.Fields(df)[1], &n)
		return n
	}
	if after := d.exec("df -k /files | tail -n 1"); blocks(after) < 2*blocks(before)*9/10 {
		d.Errorf("the file system was %q and is %q, want twice as large", before, after)
	}
}

// checkData reads what was written before and after the disks grew.
func (d cloudDisks) checkData() {
	d.Helper()
	got := d.exec("cat /files/f; head -c 3 /dev/block; dd if=/dev/block bs=512 skip=200000 count=1 2>/dev/null | head -c 3")
	if want := "one\ntwo\nonetwo"; got != want {
		d.Errorf("the pod reads %q, want %q", got, want)
	}
}

func (d cloudDisks) checkMisuses(want int) []clouddisk.Misuse {
	d.Helper()
	got, err := d.c.Disks().Misuses()
	if err != nil || len(got) != want {
		d.Errorf("disks detached in use: got %+v, %v; want %d", got, err, want)
	}
	return got
}

// restart cuts the power of the pod's node and boots it: the disks are there
// from the beginning, and the pod runs again.
func (d cloudDisks) restart(n *lab.Node) {
	d.Helper()
	if err := errors.Join(n.PowerCut(d.ctx), n.Boot(d.ctx)); err != nil {
		d.Fatal(err)
	}
	d.wait("the pod runs again", func() error {
		_, err := d.c.Kubectl(d.ctx, "exec", "disks", "--", "true")
		return err
	})
}

// powerCut ends the node that the pod runs on, and tells Kubernetes so, which
// then lets its disks go.
func (d cloudDisks) powerCut(n *lab.Node) {
	d.Helper()
	if err := n.PowerCut(d.ctx); err != nil {
		d.Fatal(err)
	}
	for _, disk := range d.disks() {
		if disk.Node != n.Name() {
			d.Errorf("after its power cut a disk of %s is on %q", n.Name(), disk.Node)
		}
	}
	d.kubectl("wait", "--for=condition=Ready=Unknown", "--timeout=4m", "node/"+n.Name())
	d.kubectl("taint", "node", n.Name(), "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
	d.kubectl("wait", "--for=delete", "--timeout=5m", "pod/disks")
}

// replace takes a node away and puts a new one in its place.
func (d cloudDisks) replace(old *lab.Node) *lab.Node {
	d.Helper()
	d.kubectl("delete", "node", old.Name())
	added, err := old.Replace(d.ctx)
	if err != nil {
		d.Fatal(err)
	}
	if err := added.WaitReady(d.ctx, 5*time.Minute); err != nil {
		d.Fatal(err)
	}
	if added.Name() != "node3" || len(d.c.Nodes()) != 2 {
		d.Errorf("got %s, of %d nodes; want node3, of 2", added.Name(), len(d.c.Nodes()))
	}
	differentIdentities(d.ctx, d.T, d.c.Nodes())
	checkReach(d.ctx, d.T, added, d.c.Node(1).Address(), true)
	checkReach(d.ctx, d.T, added, strings.TrimSpace(d.kubectl("get", "pod/disks", "-o", "jsonpath={.status.podIP}")), true)
	return added
}

// detachInUse has something on the node use a disk when the pod goes.
func (d cloudDisks) detachInUse(n *lab.Node) {
	d.Helper()
	id := d.disks()[0].ID
	if _, err := n.SSH(d.ctx, "setsid sleep 100000 </dev/"+d.device(n, id)+" >/dev/null 2>&1 &"); err != nil {
		d.Fatal(err)
	}
	d.kubectl("delete", "pod/disks")
	d.wait("both disks are detached", func() error {
		for _, disk := range d.disks() {
			if disk.Node != "" {
				return fmt.Errorf("%s is on %s", disk.ID, disk.Node)
			}
		}
		return nil
	})
	for _, m := range d.checkMisuses(1) {
		if m.Disk != id || m.Node != n.Name() || len(m.Users) != 1 || !strings.Contains(m.Users[0], "sleep") {
			d.Errorf("got %+v, want disk %s on %s, used by sleep", m, id, n.Name())
		}
	}
}

func (d cloudDisks) wait(what string, check func() error) {
	d.Helper()
	for end := time.Now().Add(8 * time.Minute); ; time.Sleep(time.Second) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			d.Fatalf("waiting until %s: %v", what, err)
		}
	}
}
