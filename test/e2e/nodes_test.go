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
	"strings"
	"testing"
	"time"
)

// threeNodes is what the operator makes of the two rendered files.
var threeNodes = site{
	nodes:   3,
	install: (*world).installOperator,
	again:   (*world).meetOperator,
	parts:   []string{"deploy/dotmesh-operator", "ds/dotmesh-node", "deploy/dotmesh-controller"},
}

// TestNodes plays what needs several nodes and the operator, in storageMode local.
func TestNodes(t *testing.T) {
	begin(t, threeNodes)
	for _, s := range []scene{
		{"Writes", sceneWritesOnEachNode},
		{"ServerPodGoes", sceneServerPodGoes},
		{"Configuration", sceneConfiguration},
		{"Drain", sceneDrain},
	} {
		t.Run(s.name, s.play)
	}
}

// labImages puts the lab's images in the place of a registry's.
var labImages = strings.NewReplacer(
	"registry.k8s.io/etcd:v3.7.3", "dotmesh.io/etcd:dev",
	"registry.k8s.io/sig-storage/csi-provisioner:v6.3.0", "dotmesh.io/sidecars:dev",
	"registry.k8s.io/sig-storage/csi-attacher:v4.13.0", "dotmesh.io/sidecars:dev",
	"registry.k8s.io/sig-storage/csi-resizer:v2.3.0", "dotmesh.io/sidecars:dev",
	"registry.k8s.io/sig-storage/csi-snapshotter:v8.7.0", "dotmesh.io/sidecars:dev",
)

// edited is a rendered file as a user would edit it.
func (w *world) edited(file string, edit func(string) string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(w.repo, "deploy/rendered", file))
	return []byte(edit(string(text))), err
}

// installOperator makes the namespace and the Secret, edits the two files and applies
// them: the operator makes the rest.
func (w *world) installOperator(ctx context.Context) error {
	key := make([]byte, 24)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	w.apiKey = hex.EncodeToString(key)
	settings, err1 := w.edited("configmap-default.yaml", func(s string) string {
		return strings.ReplaceAll(s, "local.poolSizePerNode: 10G", "local.poolSizePerNode: 1G")
	})
	objects, err2 := w.edited("dotmesh-default.yaml", labImages.Replace)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return w.kubectl(ctx, "create", "namespace", system) },
		func() error { return w.cluster.Apply(ctx, adminSecret(w.apiKey)) },
		func() error { return w.cluster.Apply(ctx, settings) },
		func() error { return w.cluster.Apply(ctx, objects) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return w.operated(ctx)
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
		w.operated(ctx),
	)
}

// operated waits for all that the operator makes.
func (w *world) operated(ctx context.Context) error {
	if err := w.servers(ctx); err != nil {
		return err
	}
	if err := w.ready(ctx); err != nil {
		return err
	}
	members := "jsonpath={.status.readyReplicas}=3"
	if err := w.kubectl(ctx, "-n", system, "wait", "--for="+members, "--timeout=10m", "sts/dotmesh-etcd-cluster"); err != nil {
		return err
	}
	return w.trust(ctx)
}

// servers waits for a server of each node.
func (w *world) servers(ctx context.Context) error {
	for _, node := range w.cluster.Nodes() {
		pod := "pod/server-" + node.Name()
		for { // kubectl wait gives up at once where there is no such pod
			err := w.kubectl(ctx, "-n", system, "wait", "--for=condition=Ready", "--timeout=60s", pod)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s: %w", pod, err)
			case <-time.After(5 * time.Second):
			}
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
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		return err
	}
	return w.addRemote(ctx, ca)
}

// on puts a pod on a node.
func on(node string, object fmt.Stringer) fmt.Stringer {
	return stringer(strings.Replace(object.String(), "spec:\n", "spec:\n  nodeSelector: {kubernetes.io/hostname: "+node+"}\n", 1))
}

type stringer string

func (s stringer) String() string { return string(s) }

// sceneWritesOnEachNode: a dot lies on the pool of the node that its pod was
// scheduled to, whichever server the controller asks; dm sees all of them.
func sceneWritesOnEachNode(t *testing.T) {
	k := newKube(t, "e2e-nodes")
	nodes := suite.cluster.Nodes()
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

// sceneServerPodGoes: who writes does not notice that the server's pod is deleted,
// and the operator makes another.
func sceneServerPodGoes(t *testing.T) {
	k, sys := newKube(t, "e2e-server-pod"), kube{t: t, ns: system}
	node := suite.cluster.Node(2).Name()
	k.apply(claim{name: "data"}, on(node, writerPod{name: "writer", claim: "data"}))
	k.waitReady("writer")
	f := follow(t, k, "writer")
	waitAcks(t, f, 5)
	server := "pod/server-" + node
	before := sys.get(server, "{.metadata.uid}")
	sys.remove(server)
	eventually(t, podLimit, "another server pod", func() error {
		out, err := sys.try(callLimit, "get", server, "-o", `jsonpath={.metadata.uid} {.status.conditions[?(@.type=="Ready")].status}`)
		if err != nil || strings.HasPrefix(out, before) || !strings.HasSuffix(out, "True") {
			return fmt.Errorf("%q: %w", out, err)
		}
		return nil
	})
	waitAcks(t, f, 10)
	checkWriter(t, readWriter(k, "writer", "writer"), readWriter(k, "writer", "control"))
	checkRecords(k, "writer", "writer", "/data/records", f.acked())
}

// sceneConfiguration: a bad value changes nothing and is told; a larger pool grows
// under its users; a node that leaves the selector gives its pool up, and takes it
// again.
func sceneConfiguration(t *testing.T) {
	sys := kube{t: t, ns: system}
	configure := func(data string) {
		t.Helper()
		sys.kubectl("patch", "configmap/configuration", "--type=merge", "-p", `{"data":{`+data+`}}`)
	}
	pods := sys.kubectl("get", "pods", "-l", serverSelector, "-o", "jsonpath={.items[*].metadata.uid}")
	configure(`"local.poolSizePerNode":"much"`)
	eventually(t, time.Minute, "the refusal shows", func() error {
		if out := sys.kubectl("describe", "configmap/configuration"); !strings.Contains(out, "local.poolSizePerNode") || !strings.Contains(out, "refused") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	configure(`"local.poolSizePerNode":"1280Mi"`)
	eventually(t, podLimit, "the pool grows", func() error {
		if out := onNode(t, "zpool get -Hp -o value size pool"); len(out) < 10 || out < "1200000000" {
			return fmt.Errorf("it has %s bytes", out)
		}
		return nil
	})
	if now := sys.kubectl("get", "pods", "-l", serverSelector, "-o", "jsonpath={.items[*].metadata.uid}"); now != pods {
		t.Errorf("the server pods were made anew: %s, before %s", now, pods)
	}

	gone := suite.cluster.Node(3)
	configure(`"nodeSelector":"kubernetes.io/hostname!=` + gone.Name() + `"`)
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
	configure(`"nodeSelector":""`)
	eventually(t, podLimit, "the node has its server again", func() error {
		_, err := sys.try(callLimit, "wait", "--for=condition=Ready", "--timeout=30s", "pod/server-"+gone.Name())
		return err
	})
	if code, out, errOut := tryDM(t, "list"); code != 0 {
		t.Errorf("dm list: %s%s", out, errOut)
	}
}

// sceneDrain: kubectl drain ends by itself, with what users are told to give it.
func sceneDrain(t *testing.T) {
	k, sys := newKube(t, "e2e-drain"), kube{t: t, ns: system}
	node := suite.cluster.Node(3).Name()
	k.kubectl("create", "deployment", "idle", "--image="+podImage, "--", "sleep", "1000000")
	k.apply(claim{name: "data"})
	k.kubectl("patch", "deployment", "idle", "--type=merge", "-p", `{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null},"template":{"spec":{"nodeSelector":{"kubernetes.io/hostname":"`+node+`"},
		"volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"data"}}],
		"containers":[{"name":"e2e","volumeMounts":[{"name":"data","mountPath":"/data"}]}]}}}}`)
	k.kubectl("rollout", "status", "deployment/idle", "--timeout="+seconds(callLimit))
	if _, err := sys.try(podLimit, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout="+seconds(podLimit)); err != nil {
		t.Fatal(err)
	}
	sys.kubectl("uncordon", node)
	k.kubectl("rollout", "status", "deployment/idle", "--timeout="+seconds(podLimit))
}
