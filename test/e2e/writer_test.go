//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

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

// report is what a writer's log says.
type report struct {
	last   uint64 // acknowledged
	starts []string
	errors []string
	gaps   []gap
}

// gap is a time without an acknowledgement, in milliseconds since 1970.
type gap struct{ from, to int64 }

func (g gap) overlaps(o gap) bool { return g.from < o.to && o.from < g.to }

func (g gap) String() string {
	return fmt.Sprintf("%.1f s from %s", float64(g.to-g.from)/1000, time.UnixMilli(g.from).UTC().Format(time.TimeOnly))
}

func (r *report) line(text string) {
	f := strings.Fields(text)
	if len(f) < 2 {
		return
	}
	stamp, _ := strconv.ParseInt(strings.TrimPrefix(f[len(f)-1], "t="), 10, 64)
	switch f[0] {
	case "ack":
		if n, err := strconv.ParseUint(f[1], 10, 64); err == nil {
			r.last = max(r.last, n)
		}
	case "start":
		r.starts = append(r.starts, text)
	case "error":
		r.errors = append(r.errors, text)
	case "gap":
		if ms, err := strconv.ParseInt(strings.TrimSuffix(f[1], "ms"), 10, 64); err == nil {
			r.gaps = append(r.gaps, gap{stamp - ms, stamp})
		}
	}
}

// since leaves out the gaps that ended before a moment.
func (r report) since(moment time.Time) report {
	r.gaps = slices.DeleteFunc(slices.Clone(r.gaps), func(g gap) bool { return g.to < moment.UnixMilli() })
	return r
}

// readWriter reads the log of a writer's container.
func readWriter(k kube, pod, container string) report {
	k.t.Helper()
	var r report
	for line := range strings.Lines(k.kubectl("logs", pod, "-c", container)) {
		r.line(line)
	}
	return r
}

// checkWriter fails the test for every error, and for every gap that the control
// did not have.
func checkWriter(t *testing.T, data, control report) {
	t.Helper()
	for _, e := range data.errors {
		t.Errorf("the writer met an error: %s", e)
	}
	for _, g := range data.gaps {
		excused := false
		for _, c := range control.gaps {
			excused = excused || g.overlaps(c)
		}
		if excused {
			t.Logf("the writer stood still for %s, and so did the control", g)
			continue
		}
		t.Errorf("the writer stood still for %s, and the control did not", g)
	}
	for _, s := range data.starts {
		if !strings.Contains(s, "fs="+zfsMagic) {
			t.Errorf("the writer was given something that is not ZFS: %s", s)
		}
	}
}

// follower reads a writer's log as it is written, so that what was acknowledged
// is known when the node loses power.
type follower struct {
	mu   sync.Mutex // guards r
	r    report
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
			f.r.line(lines.Text())
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
	return f.r.last
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
