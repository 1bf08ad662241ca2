//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// sceneLocalWrites: a pod writes, commits and restores on the one node that has a pool.
func sceneLocalWrites(t *testing.T) { useDotsOn(t, oneLocalPool.nodes(suite.cluster)) }

// useDotsOn has pods use dots: each dot lies on the pool of the node that its pod was
// scheduled to, whichever server the controller asks; dm sees all of them.
func useDotsOn(t *testing.T, nodes []*lab.Node) {
	k := newKube(t, "e2e-nodes")
	var pods []string
	for i, node := range nodes {
		name := fmt.Sprintf("on%d", i+1)
		pods = append(pods, name)
		k.apply(claim{name: name, dot: name}, on(node.Name(), pod{name: name, claims: []string{name}}))
	}
	k.waitReady(pods...)
	for i, name := range pods {
		k.exec(name, "echo "+name+" > /"+name+"/file && sync")
		k.apply(snapshot{name: name, claim: name, message: "of " + name})
		k.apply(claim{name: name + "r", fromSnapshot: name}, on(nodes[i].Name(), pod{name: name + "r", claims: []string{name + "r"}}))
	}
	k.waitSnapshot(pods...)
	for i, name := range pods {
		k.waitReady(name + "r")
		if got := k.exec(name+"r", "cat /"+name+"r/file"); got != name {
			t.Errorf("the restore of %s holds %q", name, got)
		}
		ctx, cancel := inTime(t, callLimit)
		out, err := nodes[i].SSH(ctx, "zfs get -H -o value -s local -t filesystem -r io.dotmesh:name "+poolRoot)
		cancel()
		if err != nil || !strings.Contains(out, name) {
			t.Errorf("the dot %s is not on the pool of %s: %q, %v", name, nodes[i].Name(), out, err)
		}
		if got := logOf(t, name); len(got) != 1 {
			t.Errorf("dm log %s shows %v", name, got)
		}
	}
}
