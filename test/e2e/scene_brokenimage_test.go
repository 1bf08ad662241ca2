//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// sceneBrokenImage: a rollout stops at a server whose image cannot be had, tells so, and
// goes on when it can. Who writes notices neither.
func sceneBrokenImage(t *testing.T) {
	k, sys := newKube(t, "e2e-broken"), kube{t: t, ns: system}
	broken := suite.cluster.Node(2)
	f := k.startWriter(broken)

	const kept = "dotmesh.io/dotmesh:kept"
	images := func(commands string) {
		t.Helper()
		ctx, cancel := inTime(t, callLimit)
		defer cancel()
		if _, err := broken.SSH(ctx, commands); err != nil {
			t.Fatal(err)
		}
	}
	images("ctr -n k8s.io images tag " + nextImage + " " + kept + " && ctr -n k8s.io images rm " + nextImage)
	sys.kubectl("cordon", broken.Name()) // the operator has to run, elsewhere
	applyNext(t)
	for _, deployment := range []string{"deploy/dotmesh-operator", "deploy/dotmesh-controller"} {
		if out, err := sys.try(podLimit+callLimit, "rollout", "status", deployment, "--timeout="+seconds(podLimit)); err != nil {
			t.Fatal(out, err)
		}
	}
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
	sys.kubectl("delete", "pod", lastMember)
	awaitEtcd(t)
	if got := followers(sys); strings.Contains(got, nextImage) {
		t.Errorf("while the rollout is stopped the node service and etcd have the images %s", got)
	}
	waitAcks(t, f, 10)

	images("ctr -n k8s.io images tag " + kept + " " + nextImage)
	awaitNext(t)
	waitAcks(t, f, 10)
	checkWriter(t, readWriter(k, "writer", "writer"), readWriter(k, "writer", "control"))
	checkRecords(k, "writer", "writer", "/data/records", f.acked())
}
