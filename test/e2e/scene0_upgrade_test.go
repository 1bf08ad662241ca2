//go:build e2e

package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

const (
	// beforeCommit is the last commit that knew of no operator. It has manifests of the
	// static deployment alone.
	beforeCommit = "d568eddb187479f68852dc880cb0e788bfadc47a"
	beforeImage  = "dotmesh.io/dotmesh:before"
)

// earlier is the static deployment as that commit has it.
var earlier = site{
	nodes: static.nodes, again: static.again, parts: static.parts,
	other: func(ctx context.Context, e lab.Env) (lab.Build, error) {
		source, err := e.Source(ctx, beforeCommit)
		return lab.Build{Source: source, Tag: beforeImage}, err
	},
	install: func(w *world, ctx context.Context) error {
		source, err := w.env.Source(ctx, beforeCommit)
		if err != nil {
			return err
		}
		return w.installStaticOf(ctx, source, beforeImage)
	},
}

// Scene 0: the deployment of an earlier version is upgraded by applying the
// manifests of now; who writes meanwhile does not notice.
func sceneUpgrade(t *testing.T) {
	k, sys := newKube(t, "e2e-upgrade"), kube{t: t, ns: system}
	k.apply(claim{name: "data"}, writerPod{name: "writer", claim: "data"})
	k.waitReady("writer")
	f := follow(t, k, "writer")
	waitAcks(t, f, 5)
	if got := sys.kubectl("get", "pod", "-l", serverSelector, "-o", "jsonpath={.items[*].spec.containers[*].image}"); got != beforeImage {
		t.Fatalf("the server's image is %s", got)
	}
	old := sys.kubectl("get", "pod", "-l", "app.kubernetes.io/component=controller", "-o", "name")
	sys.kubectl("apply", "-k", filepath.Join(suite.repo, "deploy/overlays/lab"))
	inSystem(t, bootLimit, (*world).ready)
	sys.wait(podLimit, "delete", strings.Fields(old)...)
	suite.upgraded = time.Now()
	if got := sys.kubectl("get", "pod", "-l", serverSelector, "-o", "jsonpath={.items[*].spec.containers[*].image}"); got != lab.DotmeshImage {
		t.Errorf("after the upgrade the server's image is %s", got)
	}
	waitAcks(t, f, 10)
	checkWriter(t, readWriter(k, "writer", "writer"), readWriter(k, "writer", "control"))
	checkRecords(k, "writer", "writer", "/data/records", f.acked())
}
