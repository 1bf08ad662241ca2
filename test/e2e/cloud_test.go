//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
	"github.com/dotmesh-io/dotmesh-csi/test/lab/clouddisk"
)

// replace cuts a node's power, tells Kubernetes that it is gone for good, and boots
// another in its place; off is called when the power is off, and dead when that was told.
func replace(t *testing.T, old *lab.Node, off, dead func()) *lab.Node {
	t.Helper()
	sys := kube{t: t, ns: system}
	ctx, cancel := inTime(t, 25*time.Minute)
	defer cancel()
	if err := old.PowerCut(ctx); err != nil {
		t.Error(err)
		return nil
	}
	off()
	// Without the taint Kubernetes waits six minutes until it takes disks from a node that
	// used them.
	sys.kubectl("taint", "node", old.Name(), "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
	dead()
	added, err := old.Replace(ctx)
	if err == nil {
		err = added.WaitReady(ctx, 5*time.Minute)
	}
	if err != nil {
		t.Error(err)
		return nil
	}
	// That of a dot only when a server answers, and that may be one whose pool is here.
	eventually(t, 15*time.Minute, "no volume is attached to "+old.Name(), func() error {
		if out := sys.kubectl("get", "volumeattachments", "-o", `jsonpath={.items[?(@.spec.nodeName=="`+old.Name()+`")].metadata.name}`); out != "" {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	sys.kubectl("delete", "node", old.Name())
	return added
}

// checkDisk sees that a disk is on a node, and that none was ever taken from one that
// used it.
func checkDisk(t *testing.T, disk string, node *lab.Node) {
	t.Helper()
	disks, err := suite.cluster.Disks().List()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(disks, func(d clouddisk.Disk) bool { return d.ID == disk })
	if i < 0 || disks[i].Node != node.Name() {
		t.Errorf("disk %q is not on %s: %+v", disk, node.Name(), disks)
	}
	checkMisuses(t)
}

// checkMisuses sees that no disk was ever taken from a node that used it.
func checkMisuses(t *testing.T) {
	t.Helper()
	if misuses, err := suite.cluster.Disks().Misuses(); err != nil || len(misuses) > 0 {
		t.Errorf("disks were detached in use: %+v, %v", misuses, err)
	}
}
