package etcd

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

// fakeEtcd is the membership of an etcd, as strict as the real one, that tells the
// test of whatever must never be.
type fakeEtcd struct {
	t *testing.T

	mu      sync.Mutex
	members []members.Member
	last    members.ID
	// disks hold a member's id by the name of its volume.
	disks map[string]members.ID
	begun bool
}

func newFakeEtcd(t *testing.T) *fakeEtcd {
	return &fakeEtcd{t: t, last: 1000, disks: map[string]members.ID{}}
}

// start is what a pod does on a volume, with what the ConfigMap told it; false when
// the process ends at once.
func (e *fakeEtcd) start(ordinal int, disk, cluster string, existing bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if id, has := e.disks[disk]; has {
		return e.set(id, func(m *members.Member) { m.Healthy = true })
	}
	if !existing {
		if e.begun {
			e.t.Errorf("%s begins a second cluster", podName(ordinal))
		}
		if cluster != podName(ordinal)+"="+peerURL(namespace, ordinal) {
			return false
		}
		e.begun, e.last = true, e.last+1
		e.members = append(e.members, members.Member{ID: e.last, Name: podName(ordinal), PeerURL: peerURL(namespace, ordinal), Healthy: true})
		e.disks[disk] = e.last
		return true
	}
	i := slices.IndexFunc(e.members, func(m members.Member) bool { return m.PeerURL == peerURL(namespace, ordinal) && m.Name == "" })
	if i < 0 || cluster != initialCluster(e.members) || !e.quorum() {
		return false
	}
	e.disks[disk] = e.members[i].ID
	e.members[i].Name, e.members[i].Healthy = podName(ordinal), true
	return true
}

// waits tells whether a pod is kept from starting a member that votes without its data.
func (e *fakeEtcd) waits(ordinal int, disk string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, has := e.disks[disk]
	return !has && slices.ContainsFunc(e.members, func(m members.Member) bool {
		return m.PeerURL == peerURL(namespace, ordinal) && m.Name != "" && !m.Learner
	})
}

// lose is the loss of what is on a volume.
func (e *fakeEtcd) lose(disk string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.disks, disk)
}

// stop is the end of a pod's process.
func (e *fakeEtcd) stop(ordinal int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, m := range e.members {
		if of, _ := ordinalOf(m); of == ordinal {
			e.members[i].Healthy = false
		}
	}
}

func (e *fakeEtcd) set(id members.ID, change func(*members.Member)) bool {
	for i := range e.members {
		if e.members[i].ID == id {
			change(&e.members[i])
			return true
		}
	}
	return false
}

// quorum tells whether the voters that are well can decide.
func (e *fakeEtcd) quorum() bool {
	voters, well := 0, 0
	for _, m := range e.members {
		if !m.Learner {
			voters++
			if m.Healthy {
				well++
			}
		}
	}
	return voters > 0 && well > voters/2
}

func (e *fakeEtcd) List(context.Context) ([]members.Member, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.quorum() {
		return nil, dot.Unavailable("no quorum")
	}
	all := slices.Clone(e.members)
	slices.SortFunc(all, func(a, b members.Member) int { return strings.Compare(a.PeerURL, b.PeerURL) })
	return all, nil
}

func (e *fakeEtcd) AddLearner(_ context.Context, url string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.members {
		if m.PeerURL == url {
			return nil
		}
		if m.Learner || !m.Healthy {
			e.t.Errorf("a member is added beside %+v", m)
		}
	}
	e.last++
	e.members = append(e.members, members.Member{ID: e.last, PeerURL: url, Learner: true})
	return nil
}

func (e *fakeEtcd) Promote(_ context.Context, id members.ID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.set(id, func(m *members.Member) { m.Learner = false }) {
		e.t.Errorf("%d is promoted and no member", id)
	}
	return nil
}

func (e *fakeEtcd) Remove(_ context.Context, id members.ID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.members = slices.DeleteFunc(e.members, func(m members.Member) bool { return m.ID == id })
	if !e.quorum() {
		e.t.Errorf("removing %d lost the quorum", id)
	}
	return nil
}

func (e *fakeEtcd) Close() {}

// well counts the voters that are.
func (e *fakeEtcd) well() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, m := range e.members {
		if m.Healthy && !m.Learner {
			n++
		}
	}
	return n
}
