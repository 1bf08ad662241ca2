//go:build lab

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

const writerPod = `
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  nodeName: node1
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: dotmesh.io/toolbox:dev
    command: [sh, -c, "echo started >>/data/starts; sync; echo written; exec sleep 100000"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, hostPath: {path: /var/lib/dotmesh/test, type: DirectoryOrCreate}}]
`

func environment(t *testing.T) lab.Env {
	t.Helper()
	env, err := lab.HostEnv(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// TestCluster is the life of a cluster of two nodes that are not the same: one
// is taken off the network and comes back, and meanwhile the other loses its
// power, after which a pod runs again by itself with what it wrote.
func TestCluster(t *testing.T) {
	env := environment(t)
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	if err := env.Build(ctx); err != nil {
		t.Fatal(err)
	}
	c, err := lab.Start(ctx, env, lab.Config{Name: "selftest", Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pids := processesOf(t, "selftest")
		if err := c.Down(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
		checkGone(t, "selftest", pids, c.Dir())
	})
	first, second := c.Node(1), c.Node(2)
	identities := differentIdentities(ctx, t, c.Nodes())
	if err := c.Apply(ctx, []byte(writerPod)); err != nil {
		t.Fatal(err)
	}
	waitStarts(ctx, t, c, 1)

	checkReach(ctx, t, first, second.Address(), true)
	if err := second.Cut(ctx); err != nil {
		t.Fatal(err)
	}
	gateway := second.Address()[:strings.LastIndexByte(second.Address(), '.')] + ".1"
	checkReach(ctx, t, second, gateway, false)
	checkReach(ctx, t, second, first.Address(), false)
	checkReach(ctx, t, first, gateway, true)

	if err := first.PowerCut(ctx); err != nil {
		t.Fatal(err)
	}
	if first.Running() {
		t.Error("the node has power after a power cut")
	}
	if err := first.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	waitStarts(ctx, t, c, 2)
	if got := identity(ctx, t, first); got != identities[0] {
		t.Errorf("identity: got %q after the boot, want %q", got, identities[0])
	}
	if _, err := c.Kubectl(ctx, "wait", "--for=condition=Ready=Unknown", "--timeout=4m", "node/"+second.Name()); err != nil {
		t.Errorf("Kubernetes does not see that a node is cut off: %v", err)
	}
	if err := second.Heal(ctx); err != nil {
		t.Fatal(err)
	}
	checkReach(ctx, t, second, gateway, true)
	if err := second.WaitReady(ctx, 4*time.Minute); err != nil {
		t.Error(err)
	}
	anotherBeside(ctx, t, env, c)
}

// anotherBeside starts and ends another cluster while c is up: neither knows of the
// other, though their nodes have the same names and addresses.
func anotherBeside(ctx context.Context, t *testing.T, env lab.Env, c *lab.Cluster) {
	t.Helper()
	const name = "selftest2"
	other, err := lab.Start(ctx, env, lab.Config{Name: name, Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	down := sync.OnceFunc(func() {
		pids := processesOf(t, name)
		if err := other.Down(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
		checkGone(t, name, pids, other.Dir())
	})
	t.Cleanup(down)
	if _, err := other.Kubectl(ctx, "create", "namespace", "only-here"); err != nil {
		t.Error(err)
	}
	if out, err := c.Kubectl(ctx, "get", "namespace", "only-here"); err == nil {
		t.Errorf("a namespace of one cluster is seen in the other: %s", out)
	}
	if a, b := identity(ctx, t, c.Node(1)), identity(ctx, t, other.Node(1)); a == b {
		t.Errorf("nodes of two clusters are one machine: %s", a)
	}
	if out, err := other.Kubectl(ctx, "get", "nodes", "-o", "name"); err != nil || strings.TrimSpace(string(out)) != "node/"+other.Node(1).Name() {
		t.Errorf("the other cluster has the nodes %q, %v; want its own alone", out, err)
	}
	down()
	if err := c.Node(1).WaitReady(ctx, time.Minute); err != nil {
		t.Errorf("after another cluster went down: %v", err)
	}
}

// differentIdentities sees that no two nodes, nor a node and the host, are one
// machine to ZFS or to systemd.
func differentIdentities(ctx context.Context, t *testing.T, nodes []*lab.Node) (all []string) {
	t.Helper()
	seen := map[string]string{}
	for _, what := range []string{"/etc/machine-id", "/etc/hostid"} {
		if b, err := os.ReadFile(what); err == nil {
			seen[fmt.Sprintf("%x", b)] = "the host's " + what
		}
	}
	for _, n := range nodes {
		got := identity(ctx, t, n)
		all = append(all, got)
		words := strings.Fields(got)
		if len(words) != 3 || len(words[0]) != 66 || len(words[1]) != 8 || words[2] == "00000000" {
			t.Fatalf("identity of %s: got %q, want machine-id and hostid", n.Name(), got)
		}
		for _, id := range words[:2] {
			if other := seen[id]; other != "" {
				t.Errorf("%s has the identity of %s: %s", n.Name(), other, id)
			}
			seen[id] = n.Name()
		}
	}
	return all
}

// identity is the machine-id and the hostid in the files, and the hostid that
// ZFS takes.
func identity(ctx context.Context, t *testing.T, n *lab.Node) string {
	t.Helper()
	out, err := n.SSH(ctx, "for f in machine-id hostid; do od -An -v -tx1 /etc/$f | tr -d ' \\n'; echo; done; hostid")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func checkReach(ctx context.Context, t *testing.T, from *lab.Node, address string, want bool) {
	t.Helper()
	_, err := from.SSH(ctx, "/run/busybox ping -c 3 -W 5 "+address)
	if got := err == nil; got != want {
		t.Errorf("%s reaches %s: got %v, want %v (%v)", from.Name(), address, got, want, err)
	}
}

func waitStarts(ctx context.Context, t *testing.T, c *lab.Cluster, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 8*time.Minute)
	defer cancel()
	got := 0
	for got != want {
		out, err := c.Node(1).SSH(ctx, "cat /var/lib/dotmesh/test/starts || true")
		if err == nil {
			got = strings.Count(out, "started")
		}
		select {
		case <-ctx.Done():
			pods, _ := c.Kubectl(context.WithoutCancel(ctx), "describe", "pod", "writer")
			t.Fatalf("the pod has started %d times, want %d: %v\n%s", got, want, err, pods)
		case <-time.After(2 * time.Second):
		}
	}
}

// processesOf lists what runs in the network namespace of a VM or cluster.
func processesOf(t *testing.T, name string) []string {
	t.Helper()
	if _, err := os.Stat("/run/netns/dmlab-" + name); errors.Is(err, os.ErrNotExist) {
		return nil // a start that was interrupted before it made one
	}
	out, err := exec.Command("ip", "netns", "pids", "dmlab-"+name).Output()
	if err != nil {
		t.Error(err)
	}
	return strings.Fields(string(out))
}

// checkGone looks for what a VM or cluster could leave on the host: these
// processes, and what has its name or one of the directories in it.
func checkGone(t *testing.T, name string, pids []string, dirs ...string) {
	t.Helper()
	for _, p := range pids {
		if line, err := os.ReadFile("/proc/" + p + "/cmdline"); err == nil && len(line) > 0 {
			t.Errorf("process %s is left: %q", p, line)
		}
	}
	if _, err := os.Stat(dirs[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there", dirs[0])
	}
	for what, argv := range map[string][]string{
		"a network namespace": {"ip", "netns", "list"},
		"an interface":        {"ip", "-o", "link"},
		"a process":           {"ps", "-eo", "args"},
		"a loop device":       {"losetup", "-a"},
		"a mount":             {"cat", "/proc/self/mountinfo"},
	} {
		out, err := exec.Command(argv[0], argv[1:]...).Output()
		if err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(string(out)) {
			for _, sign := range append(dirs, "dmlab-"+name, ": tap", ": ctl") {
				if strings.Contains(line, sign) {
					t.Errorf("%s is left: %s", what, line)
				}
			}
		}
	}
}
