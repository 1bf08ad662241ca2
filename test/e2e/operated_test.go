//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// nextImage is what the operator's deployments are upgraded to.
const (
	nextImage   = "dotmesh.io/dotmesh:next"
	nextVersion = "v99.0.0-e2e"
)

// fromRegistry are the images that a cluster of the lab has under other names.
var fromRegistry = regexp.MustCompile(`registry\.k8s\.io/(sig-storage/csi-[a-z]+|etcd):\S+`)

// deployment is one that the operator runs: the two rendered files of an overlay, as a
// user edits them.
type deployment struct {
	overlay  string
	settings *strings.Replacer
	// nodes are those that the settings choose.
	nodes func(*lab.Cluster) []*lab.Node
}

var (
	localPools = deployment{"default", strings.NewReplacer("local.poolSizePerNode: 10G", "local.poolSizePerNode: 1G"), (*lab.Cluster).Nodes}
	// oneLocalPool is on node1 alone.
	oneLocalPool = deployment{
		"default", strings.NewReplacer("local.poolSizePerNode: 10G", "local.poolSizePerNode: 1G", `nodeSelector: ""`, "nodeSelector: kubernetes.io/hostname=node1"),
		func(c *lab.Cluster) []*lab.Node { return []*lab.Node{c.Node(1)} },
	}
	cloudPools = deployment{"pvc-per-node", strings.NewReplacer("pvcPerNode.pvSizePerNode: 10G", "pvcPerNode.pvSizePerNode: 1G"), (*lab.Cluster).Nodes}
)

// file is one of the two, "configmap" or "dotmesh".
func (d deployment) file(w *world, name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(w.repo, "deploy/rendered", name+"-"+d.overlay+".yaml"))
	return string(text), err
}

// configmap is the ConfigMap `configuration`, edited.
func (d deployment) configmap(w *world) (string, error) {
	text, err := d.file(w, "configmap")
	edited := d.settings.Replace(text)
	if err == nil && edited == text {
		err = fmt.Errorf("configmap-%s.yaml has nothing of what the tests edit", d.overlay)
	}
	return edited, err
}

// objects are all others, with our image.
func (d deployment) objects(w *world, image string) (string, error) {
	text, err := d.file(w, "dotmesh")
	text = fromRegistry.ReplaceAllStringFunc(text, func(name string) string {
		if strings.Contains(name, "etcd") {
			return lab.EtcdImage
		}
		return lab.SidecarsImage
	})
	return strings.ReplaceAll(text, lab.DotmeshImage, image), err
}

// install is for a site.
func (d deployment) install() func(*world, context.Context) error {
	return func(w *world, ctx context.Context) error { return w.installOperated(ctx, d) }
}

// installOperated makes the namespace and the Secret, and applies the two files: the
// operator makes the rest.
func (w *world) installOperated(ctx context.Context, d deployment) error {
	key := make([]byte, 24)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	w.apiKey = hex.EncodeToString(key)
	if err := w.kubectl(ctx, "create", "namespace", system); err != nil {
		return err
	}
	if err := w.cluster.Apply(ctx, adminSecret(w.apiKey)); err != nil {
		return err
	}
	return w.applyOperated(ctx, d)
}

// applyOperated applies the two files.
func (w *world) applyOperated(ctx context.Context, d deployment) error {
	settings, err1 := d.configmap(w)
	objects, err2 := d.objects(w, lab.DotmeshImage)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for _, file := range []string{settings, objects} {
		if err := w.applyFile(ctx, file); err != nil {
			return err
		}
	}
	return w.operated(ctx, d.nodes(w.cluster))
}

// applyFile applies a file as a user does.
func (w *world) applyFile(ctx context.Context, text string) error {
	_, err := w.cluster.KubectlInput(ctx, strings.NewReader(text), "apply", "-f", "-")
	return err
}

// meetOperator has the pods of an operator's cluster run the images of now.
func (w *world) meetOperator(ctx context.Context) error {
	key, err := w.secret(ctx, "dotmesh", "dotmesh-api-key.txt")
	if err != nil {
		return err
	}
	w.apiKey = string(key)
	return errors.Join(
		w.kubectl(ctx, "-n", system, "rollout", "restart", "deploy/dotmesh-operator", "deploy/dotmesh-controller", "ds/dotmesh-node"),
		w.kubectl(ctx, "-n", system, "delete", "pod", "-l", serverSelector),
		w.operated(ctx, w.cluster.Nodes()),
	)
}

// operated waits for a server of each of these nodes and for our other pods, and
// introduces dm to the cluster. etcd may still be growing.
func (w *world) operated(ctx context.Context, nodes []*lab.Node) error {
	return errors.Join(w.serversReady(ctx, nodes), w.ready(ctx), w.trust(ctx))
}

// serversReady waits for a server of each of these nodes.
func (w *world) serversReady(ctx context.Context, nodes []*lab.Node) error {
	for {
		servers, err := w.cluster.Kubectl(ctx, "-n", system, "get", "pods", "-l", serverSelector, "-o",
			`jsonpath={range .items[*]}{.spec.nodeName}={.status.conditions[?(@.type=="Ready")].status} {end}`)
		if err == nil {
			err = readyOnAll(strings.Fields(string(servers)), nodes)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(5 * time.Second):
		}
	}
}

// readyOnAll is nil where servers, as node=True, has each node.
func readyOnAll(servers []string, nodes []*lab.Node) error {
	for _, node := range nodes {
		if !slices.Contains(servers, node.Name()+"=True") {
			return fmt.Errorf("%s has no server that is ready: %q", node.Name(), servers)
		}
	}
	return nil
}

// trust introduces dm to a cluster whose CA the operator made.
func (w *world) trust(ctx context.Context) error {
	text, err := w.secret(ctx, "dotmesh-ca-cert", "ca.crt")
	if err != nil {
		return err
	}
	ca := filepath.Join(w.work, "ca.crt")
	if err := errors.Join(os.RemoveAll(filepath.Join(w.work, "config")), os.WriteFile(ca, text, 0o600)); err != nil {
		return err
	}
	return w.addRemote(ctx, ca)
}

// configure changes keys of the ConfigMap, which are written as JSON.
func configure(sys kube, keys string) {
	sys.t.Helper()
	sys.kubectl("patch", "configmap/configuration", "--type=merge", "-p", `{"data":{`+keys+`}}`)
}

// awaitEtcd waits for three members.
func awaitEtcd(t *testing.T) {
	t.Helper()
	sys := kube{t: t, ns: system}
	eventually(t, 15*time.Minute, "etcd has three members", func() error {
		out, err := sys.try(callLimit, "get", "sts/dotmesh-etcd-cluster", "-o", "jsonpath={.status.readyReplicas}")
		if err == nil && out != "3" {
			err = fmt.Errorf("%s are ready", out)
		}
		return err
	})
}
