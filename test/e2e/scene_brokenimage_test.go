//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// sceneBrokenImage: a rollout stops at a server whose image cannot be had, tells so, and
// goes on when it can. Who writes notices neither.
func sceneBrokenImage(t *testing.T) {
	k, sys := newKube(t, "e2e-broken"), kube{t: t, ns: system}
	broken := suite.cluster.Node(2)
	f := k.writeOn(broken)

	ctx, cancel := inTime(t, callLimit)
	defer cancel()
	if _, err := broken.SSH(ctx, "ctr -n k8s.io images rm --sync "+nextImage); err != nil {
		t.Fatal(err)
	}
	sys.kubectl("cordon", broken.Name()) // the operator has to run, elsewhere
	applyNext(t)
	sys.kubectl("rollout", "status", "deploy/dotmesh-operator", "--timeout="+seconds(callLimit))
	sys.kubectl("rollout", "status", "deploy/dotmesh-controller", "--timeout="+seconds(callLimit))
	sys.kubectl("uncordon", broken.Name())
	eventually(t, 15*time.Minute, "the rollout stops", func() error {
		if out := sys.kubectl("get", "events", "--field-selector=reason=RolloutStopped"); !strings.Contains(out, nextImage) && !strings.Contains(out, broken.Name()) {
			return fmt.Errorf("%q", out)
		}
		return nil
	})
	stopped := serverImages(sys)
	if got := stopped[broken.Name()]; got != nextImage {
		t.Errorf("the server that does not come up has the image %s", got)
	}
	time.Sleep(time.Minute) // nothing goes on meanwhile
	if now := serverImages(sys); fmt.Sprint(now) != fmt.Sprint(stopped) {
		t.Errorf("while the rollout is stopped the images became %v, they were %v", now, stopped)
	}
	waitAcks(t, f, 10)

	inSystem(t, podLimit, func(w *world, ctx context.Context) error {
		archive, err := w.env.DotmeshArchive(ctx, lab.Build{Tag: nextImage, Version: nextVersion})
		if err != nil {
			return err
		}
		return w.cluster.LoadImage(ctx, archive)
	})
	awaitVersion(t, nextVersion)
	waitAcks(t, f, 10)
	checkWriter(t, readWriter(k, "writer", "writer"), readWriter(k, "writer", "control"))
	checkRecords(k, "writer", "writer", "/data/records", f.acked())
}

// serverImages are the images of the servers, by node.
func serverImages(sys kube) map[string]string {
	sys.t.Helper()
	images := map[string]string{}
	out := sys.kubectl("get", "pods", "-l", serverSelector, "-o", `jsonpath={range .items[*]}{.spec.nodeName}={.spec.containers[0].image} {end}`)
	for _, pair := range strings.Fields(out) {
		node, image, _ := strings.Cut(pair, "=")
		images[node] = image
	}
	return images
}

// server is what is known of one's pod.
type server struct {
	made, ready string // times, as Kubernetes writes them
}

// awaitVersion waits until every node's server is ready and of a version, and gives
// them in the order in which they were made.
func awaitVersion(t *testing.T, version string) (servers []server) {
	t.Helper()
	sys := kube{t: t, ns: system}
	eventually(t, 15*time.Minute, "all servers are of version "+version, func() error {
		out, err := sys.try(callLimit, "get", "pods", "-l", serverSelector, "-o",
			`jsonpath={range .items[*]}{.metadata.creationTimestamp} {.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].lastTransitionTime} {.metadata.labels.dotmesh\.io/version}{"\n"}{end}`)
		if err != nil {
			return err
		}
		servers = nil
		for line := range strings.Lines(out) {
			f := strings.Fields(line)
			if len(f) != 4 || f[1] != "True" || f[3] != version {
				return fmt.Errorf("%s", out)
			}
			servers = append(servers, server{made: f[0], ready: f[2]})
		}
		if len(servers) < len(suite.cluster.Nodes()) {
			return fmt.Errorf("there are %d servers", len(servers))
		}
		return nil
	})
	slices.SortFunc(servers, func(a, b server) int { return strings.Compare(a.made, b.made) })
	return servers
}
