//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// sceneConfiguration: a bad value changes nothing and is told; a larger pool grows
// under its users; a node that leaves the selector gives its pool up, and takes it
// again.
func sceneConfiguration(t *testing.T) {
	sys := kube{t: t, ns: system}
	pods := serverPods(sys)
	configure(sys, `"local.poolSizePerNode":"much"`)
	eventually(t, time.Minute, "the refusal shows", func() error {
		if out := sys.kubectl("describe", "configmap/configuration"); !strings.Contains(out, "local.poolSizePerNode") || !strings.Contains(out, "refused") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	configure(sys, `"local.poolSizePerNode":"`+grownSize+`"`)
	for _, node := range suite.cluster.Nodes() {
		awaitGrown(t, node)
	}
	if now := serverPods(sys); now != pods {
		t.Errorf("the server pods were made anew: %s, before %s", now, pods)
	}

	gone := suite.cluster.Node(3)
	configure(sys, `"nodeSelector":"kubernetes.io/hostname!=`+gone.Name()+`"`)
	sys.wait(podLimit, "delete", "pod/server-"+gone.Name())
	eventually(t, time.Minute, "the label goes", func() error {
		if out := sys.get("node/"+gone.Name(), `{.metadata.labels.dotmesh\.io/server}`); out != "" {
			return fmt.Errorf("it is %q", out)
		}
		return nil
	})
	ctx, cancel := inTime(t, callLimit)
	defer cancel()
	if out, err := gone.SSH(ctx, "zpool list -H -o name; losetup -l -n"); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("the node still has %q (%v)", out, err)
	}
	configure(sys, `"nodeSelector":""`)
	eventually(t, podLimit, "the node has its server again", func() error {
		_, err := sys.try(callLimit, "wait", "--for=condition=Ready", "--timeout=30s", "pod/server-"+gone.Name())
		return err
	})
	if code, out, errOut := tryDM(t, "list"); code != 0 {
		t.Errorf("dm list: %s%s", out, errOut)
	}
}
