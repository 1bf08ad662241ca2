//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/e2e/writerlog"
	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// zfsMagic is what statfs(2) calls ZFS, as the writer prints it.
const zfsMagic = "2fc12fc1"

// writerPod runs the fsync writer on a claim and, as a control, another on a
// plain file of the same node.
type writerPod struct{ name, claim string }

func (p writerPod) String() string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %[1]s}
spec:
  terminationGracePeriodSeconds: 1
  enableServiceLinks: false
  automountServiceAccountToken: false
  containers:
  - name: writer
    image: %[3]s
    command: [writer, -file, /data/records]
    volumeMounts: [{name: data, mountPath: /data}]
  - name: control
    image: %[3]s
    command: [writer, -file, /plain/records]
    volumeMounts: [{name: plain, mountPath: /plain}]
  volumes:
  - name: data
    persistentVolumeClaim: {claimName: %[2]s}
  - name: plain
    emptyDir: {}
`, p.name, p.claim, podImage)
}

// mostBeyond is how long a writer may stand still while the control goes on.
const mostBeyond = 5 * time.Second

// readWriter reads the log of a writer's container.
func readWriter(k kube, pod, container string) writerlog.Log {
	k.t.Helper()
	return writerlog.Read(k.kubectl("logs", pod, "-c", container))
}

// checkWriter fails the test for every error, and for every gap that is too long beyond
// the control's.
func checkWriter(t *testing.T, data, control writerlog.Log) {
	t.Helper()
	for _, e := range data.Errors {
		t.Errorf("the writer met an error: %s", e)
	}
	for _, g := range data.Gaps {
		switch beyond := g.Beyond(control.Gaps); {
		case beyond > mostBeyond:
			t.Errorf("the writer stood still for %s, %s of that while the control did not", g, beyond)
		default:
			t.Logf("the writer stood still for %s, and so did the control but for %s", g, beyond)
		}
	}
	for _, s := range data.Starts {
		if !strings.Contains(s, "fs="+zfsMagic) {
			t.Errorf("the writer was given something that is not ZFS: %s", s)
		}
	}
}

// follower reads a writer's log as it is written, so that what was acknowledged
// is known when the node loses power.
type follower struct {
	mu   sync.Mutex // guards r
	r    writerlog.Log
	stop func()
}

func follow(t *testing.T, k kube, pod string) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reader, pipe := io.Pipe()
	f := &follower{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(reader)
		for lines.Scan() {
			f.mu.Lock()
			f.r.Add(lines.Text())
			f.mu.Unlock()
		}
	}()
	go func() {
		defer pipe.Close()
		streams := lab.Streams{Out: pipe, Err: io.Discard}
		// kubectl ends when the container is not there yet, or again.
		for ctx.Err() == nil {
			_ = suite.cluster.KubectlAttached(ctx, streams, "-n", k.ns, "logs", "-f", pod, "-c", "writer")
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	f.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(f.stop)
	return f
}

// acked is the last number that reached us.
func (f *follower) acked() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.r.Last
}

// waitAcks waits until a writer has gone a good way on.
func waitAcks(t *testing.T, f *follower, more uint64) {
	t.Helper()
	from := f.acked()
	eventually(t, podLimit, "the writer goes on", func() error {
		if now := f.acked(); now < from+more {
			return fmt.Errorf("acknowledged %d, want %d", now, from+more)
		}
		return nil
	})
}

// checkRecords reads the file that a writer wrote: all records up to the last
// that was acknowledged must be there.
func checkRecords(k kube, pod, container, path string, acked uint64) {
	k.t.Helper()
	out := k.kubectl("exec", pod, "-c", container, "--", "writer", "-check", "-file", path)
	var last uint64
	if _, err := fmt.Sscanf(out, "intact last=%d", &last); err != nil || last < acked {
		k.t.Errorf("%s: %q, but %d records were acknowledged (%v)", path, strings.TrimSpace(out), acked, err)
	}
}

// startWriter has a pod write on a node, to the claim "data" of a dot there.
func (k kube) startWriter(node *lab.Node) *follower {
	k.t.Helper()
	k.apply(claim{name: "data"}, on(node.Name(), writerPod{name: "writer", claim: "data"}))
	k.waitReady("writer")
	f := follow(k.t, k, "writer")
	waitAcks(k.t, f, 10)
	return f
}
