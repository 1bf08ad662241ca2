package pools

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// oneServer answers what it is told to, and counts.
type oneServer struct {
	status Status
	err    error
	asked  int
}

func (s *oneServer) Status(context.Context, string) (Status, error) {
	s.asked++
	return s.status, s.err
}

func (s *oneServer) Release(context.Context, string, uint64) (Released, error) {
	return Released{}, errors.New("not asked here")
}

func TestIdleSince(t *testing.T) {
	server, now := &oneServer{}, time.Unix(1000, 0)
	seen := newSeen(server, func() time.Time { return now })
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "1"}, Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "::1"}}
	use := func(inUse bool) func() { return func() { server.status.InUse, server.err = inUse, nil } }
	fail := func() { server.err = errors.New("no answer") }
	for i, step := range []struct {
		is   func()
		idle time.Duration // how long it has been idle then; -1: not
	}{
		{use(false), 0},
		{use(false), 10 * time.Second},
		{use(true), -1},
		{use(true), -1},
		{use(false), 0},
		{fail, -1}, // nobody knows what it did meanwhile
		{use(false), 0},
		{use(false), 10 * time.Second},
	} {
		step.is()
		seen.ask(t.Context(), []corev1.Pod{pod})
		_, since, ok := seen.last(pod.UID)
		got := now.Sub(since)
		if since.IsZero() {
			got = -1
		}
		if !ok || got != step.idle {
			t.Errorf("step %d: idle for %v, known %v; want %v", i, got, ok, step.idle)
		}
		now = now.Add(10 * time.Second)
	}
}

func TestServersAreAskedOnceInAWhile(t *testing.T) {
	server, now := &oneServer{}, time.Unix(1000, 0)
	seen := newSeen(server, func() time.Time { return now })
	running := corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "1"}, Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1"}}
	pending := corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "2"}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
	ask := func(want int, why string) {
		t.Helper()
		seen.ask(t.Context(), []corev1.Pod{running, pending})
		if server.asked != want {
			t.Errorf("asked %d times, want %d: %s", server.asked, want, why)
		}
	}
	ask(1, "who does not run has no address")
	ask(1, "the answer is new")
	seen.forget(running.UID)
	ask(2, "the answer does not hold any more")
	now = now.Add(askAgain)
	ask(3, "the answer is old")
	seen.ask(t.Context(), nil)
	if _, _, ok := seen.last(running.UID); ok {
		t.Error("a pod that is gone is remembered")
	}
}

// TestAnotherServersAnswer: an address may be another server's by now, and what that
// one says must not have the pod's pool taken for released.
func TestAnotherServersAnswer(t *testing.T) {
	server, now := &oneServer{}, time.Unix(1000, 0)
	seen := newSeen(server, func() time.Time { return now })
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: "1", Annotations: map[string]string{specs.AnnotationNodeName: "a", specs.AnnotationPVCUID: "u"}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "::1"},
	}
	for _, c := range []struct {
		node, claim string
		own         bool
	}{{"b", "u", false}, {"a", "v", false}, {"a", "", false}, {"a", "u", true}} {
		server.status.Node, server.status.Claim, server.status.Released = c.node, c.claim, true
		seen.ask(t.Context(), []corev1.Pod{pod})
		if status, _, known := seen.last(pod.UID); known != c.own || status.Released != c.own {
			t.Errorf("server of node %s, claim %q: known %t, %+v", c.node, c.claim, known, status)
		}
		now = now.Add(time.Minute)
	}
}

// TestSilentServer: what a server said holds for a minute.
func TestSilentServer(t *testing.T) {
	server, now := &oneServer{}, time.Unix(1000, 0)
	seen := newSeen(server, func() time.Time { return now })
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "1"}, Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "::1"}}
	server.status.Health, server.status.WantedPools, server.status.Released = "ONLINE", []string{"p"}, true
	seen.ask(t.Context(), []corev1.Pod{pod})
	server.err = errors.New("no answer")
	for _, c := range []struct {
		after time.Duration
		holds bool
	}{{30 * time.Second, true}, {2 * time.Minute, false}} {
		now = time.Unix(1000, 0).Add(c.after)
		seen.ask(t.Context(), []corev1.Pod{pod})
		status, _, _ := seen.last(pod.UID)
		if (status.Health != "") != c.holds || (len(status.WantedPools) > 0) != c.holds || status.Released != c.holds {
			t.Errorf("after %v: %+v", c.after, status)
		}
	}
}
