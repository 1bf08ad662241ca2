//go:build e2e

package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// suite is the cluster of the test that runs; begin makes it.
var suite *world

const bootLimit = 20 * time.Minute

// begin gives a test its cluster, with dotmesh installed on it, until the test ends.
// The lab's machines die with this process, however it ends.
func begin(t *testing.T, s site) {
	t.Helper()
	ctx, cancel := inTime(t, bootLimit)
	defer cancel()
	w, err := newWorld(ctx, s)
	if w != nil {
		t.Cleanup(func() {
			if err := w.close(); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		if w != nil && w.cluster != nil {
			w.dump("boot", nil)
		}
		t.Fatalf("the cluster did not come up: %v", err)
	}
	suite = w
}

// inSystem runs a step that has no test's helpers.
func inSystem(t *testing.T, limit time.Duration, step func(*world, context.Context) error) {
	t.Helper()
	ctx, cancel := inTime(t, limit)
	defer cancel()
	if err := step(suite, ctx); err != nil {
		suite.dump(t.Name(), nil)
		t.Fatal(err)
	}
}

// site is a kind of cluster.
type site struct {
	nodes int
	// cloudDisks has the cluster have the lab's volumes of a cloud.
	cloudDisks bool
	// other gives an image of another version that the nodes have too; nil for none.
	other func(context.Context, lab.Env) (lab.Build, error)
	// install puts dotmesh on the cluster as a person would.
	install func(w *world, ctx context.Context) error
	// again goes on with a cluster that dotmesh is installed on already.
	again func(w *world, ctx context.Context) error
	// parts are what it is then waited for, as `kubectl rollout status` names them.
	parts []string
}

// static is the static deployment.
var static = site{
	nodes:   1,
	install: (*world).installStatic,
	again:   (*world).reinstallStatic,
	parts:   []string{"sts/dotmesh-etcd", "deploy/dotmesh-server", "ds/dotmesh-node", "deploy/dotmesh-controller"},
}
