//go:build lab

package lab_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

const writerPod = `
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
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

// TestCluster is the life of a cluster: a pod writes, the power is cut, and after
// the boot the pod runs again by itself with what it wrote.
func TestCluster(t *testing.T) {
	env := environment(t)
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	if err := env.Build(ctx); err != nil {
		t.Fatal(err)
	}
	c, err := lab.Start(ctx, env, lab.Config{Name: "selftest"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Down(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
		checkGone(t, "selftest", c.Dir())
	})
	if err := c.Apply(ctx, []byte(writerPod)); err != nil {
		t.Fatal(err)
	}
	waitStarts(ctx, t, c, 1)
	node := c.Node(1)
	before, err := node.SSH(ctx, "cat /etc/machine-id; hostid")
	if err != nil {
		t.Fatal(err)
	}
	if err := node.PowerCut(ctx); err != nil {
		t.Fatal(err)
	}
	if node.Running() {
		t.Fatal("the node has power after a power cut")
	}
	if err := node.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	waitStarts(ctx, t, c, 2)
	after, err := node.SSH(ctx, "cat /etc/machine-id; hostid")
	if err != nil {
		t.Fatal(err)
	}
	if before != after {
		t.Errorf("identity: got %q after the boot, want %q", after, before)
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

// checkGone looks for what a site could leave on the host.
func checkGone(t *testing.T, name, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there", dir)
	}
	for what, argv := range map[string][]string{
		"a network namespace": {"ip", "netns", "list"},
		"a process":           {"ps", "-eo", "args"},
		"a loop device":       {"losetup", "-a"},
		"a mount":             {"cat", "/proc/self/mountinfo"},
	} {
		out, err := exec.Command(argv[0], argv[1:]...).Output()
		if err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, dir) || strings.Contains(line, "dmlab-"+name) {
				t.Errorf("%s is left: %s", what, line)
			}
		}
	}
}

// TestVolatileDisk shows that a power cut loses what was not flushed, keeps what
// was, and that an honest disk is what makes the difference.
func TestVolatileDisk(t *testing.T) {
	env := environment(t)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	vm, err := lab.StartVM(ctx, env, lab.VMConfig{Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vm.Close(); err != nil {
			t.Error(err)
		}
	})
	// The raw tail of the disk, past what ext4 has touched: a write without and one
	// with a flush, both through O_DIRECT, so that the guest's cache plays no part.
	const write = "head -c 4096 /dev/zero | tr '\\0' '%s' | dd of=/dev/vda bs=4096 seek=%s oflag=direct %s status=none; "
	const read = "dd if=/dev/vda bs=4096 skip=%s count=1 iflag=direct status=none | head -c 1"
	fill := func(letter, block, flag string) string {
		return strings.NewReplacer("%s'", letter+"'", "seek=%s", "seek="+block, "direct %s", "direct "+flag).Replace(write)
	}
	at := func(block string) string { return strings.Replace(read, "%s", block, 1) }
	if _, err := vm.Output(ctx, fill("F", "2600000", "conv=fsync")+fill("U", "2600001", "")); err != nil {
		t.Fatal(err)
	}
	vm.PowerCut()
	if err := vm.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ block, what, want string }{
		{"2600000", "flushed", "F"},
		{"2600001", "not flushed", "\x00"},
	} {
		got, err := vm.Output(ctx, at(c.block))
		if err != nil {
			t.Fatal(err)
		}
		if got != c.want {
			t.Errorf("the block that was %s: got %q, want %q", c.what, got, c.want)
		}
	}
}
