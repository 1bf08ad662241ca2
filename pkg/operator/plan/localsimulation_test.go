package plan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// localMachine is a fake of a node, its server's pod and its pool, for the sake of
// the plan only, as fakeCluster is.
type localMachine struct {
	Node
	pod                     *Server
	on, imported, inUse, in bool // in: it is in the selector
	away                    int  // for how many steps there is no Node of it
}

func TestLocalSimulation(t *testing.T) {
	for seed := range uint64(*seeds) {
		random := rand.New(rand.NewPCG(seed, 2))
		s := state(t, map[string]string{"nodeSelector": "dotmesh!=no"})
		machines := map[string]*localMachine{}
		for i := range 4 {
			name := fmt.Sprintf("n%d", i)
			machines[name] = &localMachine{Node: node(name), on: true, in: true}
		}
		for step := range 600 {
			s.Now = s.Now.Add(10 * time.Second)
			for _, name := range slices.Sorted(maps.Keys(machines)) {
				m := machines[name]
				if step < 400 && random.IntN(6) == 0 {
					m.event(random.IntN(10), s.Now)
				} else if step == 400 {
					m.settle()
				}
				m.comeBack(s.Now)
				m.kubelet(s.Now)
			}
			s.Nodes, s.Servers = nil, nil
			for _, m := range machines {
				n := m.Node
				n.Labels = maps.Clone(n.Labels)
				if m.away == 0 {
					s.Nodes = append(s.Nodes, n)
				}
				if m.pod != nil {
					s.Servers = append(s.Servers, *m.pod)
				}
			}
			s.Missing = s.MissingSince(s.Missing)
			for _, a := range Next(s) {
				if step < 400 && random.IntN(3) == 0 {
					break // the operator is stopped
				}
				if err := applyLocal(machines, a, s.Now); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		}
		for name, m := range machines {
			if serves := m.pod != nil && m.pod.Ready; m.in != serves || m.in != m.imported || m.in != m.isLabelled() {
				t.Fatalf("seed %d: node %s, selected %v: %+v, server %+v", seed, name, m.in, m, m.pod)
			}
		}
		if got := Next(s); len(got) > 0 {
			t.Fatalf("seed %d: there is no end of it: %v", seed, got)
		}
	}
}

func (m *localMachine) event(kind int, now time.Time) {
	switch kind {
	case 0, 1:
		if m.in = !m.in; m.in {
			delete(m.Labels, "dotmesh")
		} else {
			m.Labels["dotmesh"] = "no"
		}
		m.ResourceVersion += "+"
	case 2:
		m.inUse = m.imported && !m.inUse
	case 3:
		m.on, m.Ready, m.imported, m.inUse = false, false, false, false
	case 4:
		m.on, m.Ready, m.OutOfService = true, true, false
	case 5:
		m.OutOfService = !m.on
	case 6:
		m.Cordoned = !m.Cordoned
	case 7:
		if m.pod != nil && !m.pod.isReleased() {
			m.pod.Phase, m.pod.Ready, m.pod.Report = corev1.PodFailed, false, nil
		}
	case 8:
		if m.pod != nil {
			m.pod.Deleting, m.pod.GoneBy = true, now
		}
	case 9:
		if m.on && m.away == 0 {
			m.away = 13
		}
	}
}

// comeBack has its Node be there again, within less than the operator waits for.
func (m *localMachine) comeBack(now time.Time) {
	if m.away == 0 {
		return
	}
	if m.away--; m.away == 0 {
		m.UID, m.Created = types.UID(now.String()), now
	}
}

func (m *localMachine) settle() {
	m.on, m.Ready, m.OutOfService, m.inUse = true, true, false, false
}

// kubelet has the pod go, or the server serve: it imports the pool, unless it has
// released it.
func (m *localMachine) kubelet(now time.Time) {
	switch {
	case m.pod == nil:
		return
	case !m.on:
		m.pod.Ready, m.pod.Report, m.pod.IdleSince = false, nil, time.Time{}
		return
	case m.away > 0:
		return
	case m.pod.Deleting:
		m.pod = nil
		return
	case m.pod.hasEnded() || m.pod.isReleased():
		return
	}
	m.imported = true
	m.pod.Phase, m.pod.Ready, m.pod.WasReady = corev1.PodRunning, true, true
	m.pod.Report = &Report{At: now, Pool: "pool-" + m.Name, Health: HealthOnline, InUse: m.inUse}
	if m.inUse {
		m.pod.IdleSince = time.Time{}
	} else if m.pod.IdleSince.IsZero() {
		m.pod.IdleSince = now
	}
}

func applyLocal(machines map[string]*localMachine, action Action, now time.Time) error {
	switch a := action.(type) {
	case LabelNode:
		machines[a.Node].Labels[specs.LabelServer] = specs.True
	case UnlabelNode:
		if m := machines[a.Node]; m.imported {
			return violated("node %s loses its label with its pool imported", a.Node)
		}
		delete(machines[a.Node].Labels, specs.LabelServer)
	case CreateServer:
		m := machines[a.Node]
		if !m.isLabelled() || m.pod != nil {
			return violated("%s on a node with label %v and server %v", action, m.isLabelled(), m.pod)
		}
		pod := local(a.Node, neverReady)
		pod.UID, pod.Phase, pod.Created = types.UID(a.Node+now.String()), corev1.PodPending, now
		pod.IdleSince = time.Time{}
		m.pod = &pod
	case DeleteServer:
		for _, m := range machines {
			if m.pod == nil || m.pod.UID != a.UID {
				continue
			}
			if m.pod.Deleting, m.pod.GoneBy = true, now; a.Force() {
				if m.on && m.imported && !m.OutOfService {
					return violated("%s goes by force while its pool is imported", m.pod.Name)
				}
				m.pod = nil
			}
		}
	case Release:
		for _, m := range machines {
			if m.pod != nil && m.pod.Name == a.Name && m.on && !m.inUse {
				m.imported = false
				m.pod.Ready, m.pod.Report = false, &Report{At: now, Released: true}
			}
		}
	}
	return nil
}
