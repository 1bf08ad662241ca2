package pools

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

const (
	// askTimeout bounds the question to one server. Its node may be gone.
	askTimeout = 5 * time.Second
	// askAtOnce bounds how many are asked at the same time.
	askAtOnce = 32
	// askAgain is how old an answer must be before a server is asked again: events of the
	// cluster cause rounds that need no new answers.
	askAgain = 5 * time.Second
	// answerHolds is for how long what a server said of its health, and of what it waits
	// for, is taken for true while it is silent.
	answerHolds = time.Minute
	// releaseTimeout bounds an export. One that takes longer goes on, and is asked
	// for again.
	releaseTimeout = time.Minute
)

// Servers are the servers' API. An address is host:port.
type Servers interface {
	Status(ctx context.Context, address string) (Status, error)
	// Release has a server export its pool, if it serves this generation.
	Release(ctx context.Context, address string, generation uint64) (Released, error)
}

// Status is what a server says of itself.
type Status struct {
	plan.Report
	DiskBytes  int64 // of what the pool lies on; 0 until it is known
	Conditions []Condition
}

// isOf tells whether it is the pod's own answer. An address may have become another
// server's, while what is known of the pod is behind; their certificates are alike.
func (s Status) isOf(pod corev1.Pod) bool {
	return s.Node == pod.Annotations[specs.AnnotationNodeName] && s.Claim == pod.Annotations[specs.AnnotationPVCUID]
}

// Condition is something that is well with a server or not.
type Condition struct {
	Type            string
	OK              bool
	Reason, Message string
}

// Released is the answer to Release; Reason and Holders say why the pool was not.
type Released struct {
	Released bool
	Reason   string
	Holders  []string
}

// seen are the servers' last answers.
type seen struct {
	servers Servers
	now     func() time.Time

	mu  sync.Mutex
	pod map[types.UID]*answer
}

// answer is the last of a pod.
type answer struct {
	asked     time.Time
	status    Status
	known     bool
	idleSince time.Time
}

func newSeen(servers Servers, now func() time.Time) *seen {
	return &seen{servers: servers, now: now, pod: map[types.UID]*answer{}}
}

// ask asks all of the pods at once, but for those that were asked just now, and
// forgets all others.
func (s *seen) ask(ctx context.Context, pods []corev1.Pod) {
	var group errgroup.Group
	group.SetLimit(askAtOnce)
	for _, pod := range s.due(pods) {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			status, err := s.servers.Status(ctx, addressOf(pod))
			if err == nil && !status.isOf(pod) {
				err = fmt.Errorf("the server of node %s, claim %q answers at its address", status.Node, status.Claim)
			}
			if err != nil {
				klog.FromContext(ctx).V(2).Info("server does not answer", "pod", pod.Name, "err", err)
			}
			s.keep(pod.UID, status, err)
			return nil
		})
	}
	_ = group.Wait() // none fails
}

// due gives the pods that can be asked and should be.
func (s *seen) due(pods []corev1.Pod) []corev1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, next := s.now(), map[types.UID]*answer{}
	var due []corev1.Pod
	for _, pod := range pods {
		a := s.pod[pod.UID]
		if a == nil {
			a = &answer{}
		}
		next[pod.UID] = a
		if pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP == "" {
			a.idleSince = time.Time{}
			continue
		}
		if a.asked.IsZero() || now.Sub(a.asked) >= askAgain {
			a.asked = now
			due = append(due, pod)
		}
	}
	s.pod = next
	return due
}

// keep remembers an answer. Since when a server is idle begins anew after one that
// did not answer: nobody knows what it did meanwhile.
func (s *seen) keep(pod types.UID, status Status, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.pod[pod]
	switch {
	case a == nil:
		return
	case err != nil:
		a.idleSince = time.Time{}
		if s.now().Sub(a.status.At) > answerHolds {
			a.status.Health, a.status.WantedPools = "", nil
			// A pool that stays with its node is imported again by the next start.
			a.status.Released = a.status.Released && a.status.Generation != 0
		}
		return
	case status.InUse:
		a.idleSince = time.Time{}
	case a.idleSince.IsZero():
		a.idleSince = s.now()
	}
	status.At = s.now()
	a.status, a.known = status, true
}

// forget has a pod asked anew: what it said does not hold any more.
func (s *seen) forget(pod types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.pod[pod]; a != nil {
		a.asked = time.Time{}
	}
}

// last is what a pod last said.
func (s *seen) last(pod types.UID) (status Status, idleSince time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.pod[pod]
	if a == nil || !a.known {
		return Status{}, time.Time{}, false
	}
	return a.status, a.idleSince, true
}

func addressOf(pod corev1.Pod) string { return net.JoinHostPort(pod.Status.PodIP, client.DefaultPort) }
