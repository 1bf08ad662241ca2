//go:build e2e

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// datasetsOf are the filesystems of a dot, asked of ZFS on the node.
func datasetsOf(t *testing.T, dot string) []string {
	t.Helper()
	out := onNode(t, "zfs get -H -o name,value -s local -t filesystem -r io.dotmesh:name "+poolRoot)
	var datasets []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 2 && f[1] == dot {
			datasets = append(datasets, f[0])
		}
	}
	return datasets
}

// onPool lists all filesystems and snapshots that dots have.
func onPool(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, name := range strings.Fields(onNode(t, "zfs list -H -t filesystem,snapshot,bookmark -o name -r "+poolRoot)) {
		if name != poolRoot {
			names = append(names, name)
		}
	}
	return names
}

// poolClaim is the name of the claim that a node's pool lies on.
func poolClaim(sys kube, node *lab.Node) string {
	sys.t.Helper()
	return sys.kubectl("get", "pvc", "-l", "dotmesh.io/role=pool", "-o",
		`jsonpath={.items[?(@.metadata.annotations.dotmesh\.io/node=="`+node.Name()+`")].metadata.name}`)
}

// awaitPool waits until a node serves the pool on a PVC.
func awaitPool(t *testing.T, pvc string, node *lab.Node) {
	t.Helper()
	sys := kube{t: t, ns: system}
	eventually(t, 15*time.Minute, node.Name()+" serves the pool on "+pvc, func() error {
		if got := sys.get("pvc/"+pvc, `{.metadata.annotations.dotmesh\.io/node}`); got != node.Name() {
			return fmt.Errorf("it is assigned to %q", got)
		}
		return nil
	})
	awaitServed(t, pvc, node.Name())
}

// awaitServed waits until the server of a PVC's pool is ready on a node.
func awaitServed(t *testing.T, pvc, node string) {
	t.Helper()
	sys := kube{t: t, ns: system}
	eventually(t, 15*time.Minute, "the server of "+pvc+" is ready on "+node, func() error {
		_, err := sys.try(callLimit, "wait", "--for=condition=Ready", "--timeout=60s", "pod/server-"+pvc+"-node-"+node)
		return err
	})
}

// awaitTaker waits until another node than the one that had it has a PVC's pool, and gives
// that node's name.
func awaitTaker(t *testing.T, pvc, had string) (name string) {
	t.Helper()
	sys := kube{t: t, ns: system}
	eventually(t, 15*time.Minute, "another node than "+had+" has the pool on "+pvc, func() error {
		if name = sys.get("pvc/"+pvc, `{.metadata.annotations.dotmesh\.io/node}`); name == "" || name == had {
			return fmt.Errorf("it is assigned to %q", name)
		}
		return nil
	})
	return name
}

// grownSize is what pools of 1G are made to grow to.
const grownSize = "1280Mi"

// awaitGrown waits until the pool of a node, which was one of 1G, has grown.
func awaitGrown(t *testing.T, node *lab.Node) {
	t.Helper()
	eventually(t, podLimit, "the pool of "+node.Name()+" grows", func() error {
		ctx, cancel := inTime(t, callLimit)
		defer cancel()
		out, err := node.SSH(ctx, "zpool list -Hp -o size")
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
		if err == nil && size <= 1<<30 {
			err = fmt.Errorf("it has %d bytes", size)
		}
		return err
	})
}
