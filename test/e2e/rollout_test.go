//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

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

// serverPods are the UIDs of the servers' pods.
func serverPods(sys kube) string {
	sys.t.Helper()
	return sys.kubectl("get", "pods", "-l", serverSelector, "-o", "jsonpath={.items[*].metadata.uid}")
}

// replacement is what was seen of servers that are made anew, one after another.
type replacement struct {
	wasReady map[string]bool // by UID; one that was may be away again, as etcd is
	early    []string        // those that were made before the last one was ready
}

// saw looks at lines of a server each: UID, name, image, and, as far as they are known,
// whether it is ready and its version.
func (r *replacement) saw(lines, image, version string) error {
	maps.DeleteFunc(r.wasReady, func(uid string, _ bool) bool { return !strings.Contains(lines, uid) })
	count, err := 0, error(nil)
	for line := range strings.Lines(lines) {
		f := append(strings.Fields(line), "", "")
		count++
		if f[3] != "True" || f[4] != version {
			err = fmt.Errorf("%s", lines)
		}
		if f[2] != image {
			continue
		}
		if _, known := r.wasReady[f[0]]; !known && slices.Contains(slices.Collect(maps.Values(r.wasReady)), false) {
			r.early = append(r.early, f[1])
		}
		r.wasReady[f[0]] = r.wasReady[f[0]] || f[3] == "True"
	}
	if err == nil && count < len(suite.cluster.Nodes()) {
		err = fmt.Errorf("there are %d servers", count)
	}
	return err
}

// applyNext applies the rendered file with another version's image.
func applyNext(t *testing.T) {
	t.Helper()
	inSystem(t, callLimit, func(w *world, ctx context.Context) error {
		objects, err := cloudPools.objects(w, nextImage)
		if err != nil {
			return err
		}
		return w.applyFile(ctx, objects)
	})
}

// awaitNext waits until every node's server is ready and of the next version, sees that they
// were replaced one after another, and then waits for the node service and etcd.
func awaitNext(t *testing.T) {
	t.Helper()
	sys, seen := kube{t: t, ns: system}, replacement{wasReady: map[string]bool{}}
	eventually(t, 25*time.Minute, "all servers are of version "+nextVersion, func() error {
		out, err := sys.try(callLimit, "get", "pods", "-l", serverSelector, "--sort-by=.metadata.creationTimestamp", "-o",
			`jsonpath={range .items[*]}{.metadata.uid} {.metadata.name} {.spec.containers[0].image} {.status.conditions[?(@.type=="Ready")].status} {.metadata.labels.dotmesh\.io/version}{"\n"}{end}`)
		if err != nil {
			return err
		}
		return seen.saw(out, nextImage, nextVersion)
	})
	if len(seen.early) > 0 {
		t.Errorf("%q were made before the server that was replaced before was ready", seen.early)
	}
	eventually(t, 15*time.Minute, "the node service and etcd follow", func() error {
		if got := followers(sys); strings.TrimSpace(strings.ReplaceAll(got, nextImage, "")) != "" {
			return fmt.Errorf("their images are %q", got)
		}
		return nil
	})
	for _, part := range suite.parts {
		if _, err := sys.try(2*podLimit+callLimit, "rollout", "status", part, "--timeout="+seconds(2*podLimit)); err != nil {
			t.Fatal(err)
		}
	}
	awaitEtcd(t)
}

// followers are the images of dotmesh in the node service and beside etcd, which get another
// one after the servers.
func followers(sys kube) string {
	sys.t.Helper()
	return sys.get("daemonset/dotmesh-node", "{.spec.template.spec.containers[0].image}") + " " +
		sys.kubectl("get", "pods", "-l", "app.kubernetes.io/component=etcd", "-o", "jsonpath={.items[*].spec.initContainers[*].image}")
}
