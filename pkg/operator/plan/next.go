package plan

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

const (
	// releaseAfter is how long nothing uses a pool before its node gives it up.
	releaseAfter = time.Minute
	// adoptWithin is how long the pool of a node that died waits for a node of its
	// own.
	adoptWithin = 5 * time.Minute
	// readyWithin is how long a server may take to be ready, or to be so again; and a pod to
	// go, or a volume to be detached.
	readyWithin = 10 * time.Minute
	// deadAfter is how long there has to be no Node of a name until its machine is taken for
	// dead: a kubelet that goes on makes it anew. Kubernetes waits for 40 s before it deletes
	// the pods, and for 6 min before it detaches disks that are in use.
	deadAfter = 2 * time.Minute
	// tellWithin is how long a node that has registered anew, and a server there, may take
	// to tell what runs there.
	tellWithin = 2 * time.Minute
	// knownWithin is how long it may stay unknown which machine a node is before a person is
	// told.
	knownWithin = 10 * time.Minute
	// boundWithin is how long a PVC may take to get a volume before a person is told.
	boundWithin = 10 * time.Minute
	// silentFor is how long a server may be ready, and not answer, before a person is told.
	silentFor = 2 * time.Minute
	// attachedWithin is how long the attachment of a holder that runs may stay
	// unclear before a person is told.
	attachedWithin = time.Minute
)

// Next is what can be done now, each action for itself and in any order. Whoever
// has done one, or failed to, observes and asks again; nothing to do means that the
// cluster is as it should be, or that what is missing is somebody else's to do.
func Next(s State) []Action {
	v := look(s)
	actions := v.pools()
	_, replace := v.rollout()
	return slices.Concat(actions, replace, v.silent())
}

func (v *view) pools() []Action {
	if v.Config.StorageMode == config.LocalMode {
		return v.local()
	}
	return v.pvcPerNode()
}

// view is the state, sorted and indexed.
type view struct {
	State
	node    map[string]Node
	pvc     map[string]PVC
	servers map[string][]Server // by PVC
	holders map[string][]Pod    // by PVC
	// specs are what the annotation of a server pod should be, by volume mode; "" is
	// the storage mode local's.
	specs map[corev1.PersistentVolumeMode]string
}

func look(s State) *view {
	v := &view{State: s, node: map[string]Node{}, pvc: map[string]PVC{}, servers: map[string][]Server{}, holders: map[string][]Pod{}, specs: map[corev1.PersistentVolumeMode]string{}}
	v.Nodes = slices.SortedFunc(slices.Values(s.Nodes), func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	// The oldest first: so they are adopted.
	v.PVCs = slices.SortedFunc(slices.Values(s.PVCs), func(a, b PVC) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	v.Servers = slices.SortedFunc(slices.Values(s.Servers), func(a, b Server) int { return cmp.Compare(a.Name, b.Name) })
	v.Holders = slices.SortedFunc(slices.Values(s.Holders), func(a, b Pod) int { return cmp.Compare(a.Name, b.Name) })
	v.Guards = slices.Sorted(slices.Values(s.Guards))
	for _, n := range v.Nodes {
		v.node[n.Name] = n
	}
	for _, p := range v.PVCs {
		v.pvc[p.Name] = p
	}
	for _, s := range v.Servers {
		v.servers[s.PVC] = append(v.servers[s.PVC], s)
	}
	for _, h := range v.Holders {
		v.holders[h.PVC] = append(v.holders[h.PVC], h)
	}
	return v
}

// spec is v.specs, filled as needed.
func (v *view) spec(mode corev1.PersistentVolumeMode) string {
	if _, found := v.specs[mode]; !found {
		s := specs.Server{}
		if mode != "" {
			s.Claim = &specs.Claim{VolumeMode: mode}
		}
		v.specs[mode] = specs.ServerHash(v.Cluster, v.Config, s)
	}
	return v.specs[mode]
}

// isSelected tells whether the configuration wants a server on the node.
func (v *view) isSelected(n Node) bool {
	return !n.Deleting && v.Config.NodeSelector.Matches(n.Labels)
}

// takesPods tells whether our pods can be scheduled to the node, as far as taints
// go. One that is out of service is dead, which is more.
func (n Node) takesPods() bool {
	return !slices.ContainsFunc(n.Taints, func(taint corev1.Taint) bool {
		tolerated := slices.ContainsFunc(specs.Tolerations(), func(t corev1.Toleration) bool { return t.Key == taint.Key })
		return !tolerated && taint.Effect != corev1.TaintEffectPreferNoSchedule
	})
}

// keeps tells whether a PVC that the node has may stay there.
func (v *view) keeps(n Node) bool {
	return v.isSelected(n) && n.takesPods() && !n.Cordoned && !n.OutOfService
}

// isDead tells whether a machine is off for certain: there has been no node of its name for
// deadAfter, or the node that has its name is out of service or another machine.
func (v *view) isDead(m Machine) bool {
	if n, found := v.node[m.Node]; found {
		return m.IsDead(n)
	}
	since, seen := v.Missing[m.Node]
	return seen && v.Now.Sub(since) >= deadAfter
}

// isMissing tells whether the node of a PVC is not there, but not for so long that it is
// dead: it may come back.
func (v *view) isMissing(a specs.Assignment) bool {
	_, found := v.node[a.Node]
	return !found && !a.IsFree() && !v.isDead(assigned(a))
}

// assigned is the machine that a PVC is assigned to.
func assigned(a specs.Assignment) Machine { return Machine{a.Node, a.Machine} }

// machine is the one that a pod was made for. A pod knows only the node's name, but the
// assignment that it was made for, if the PVC still has it, tells the machine.
func (v *view) machine(p Pod) Machine {
	if a := v.pvc[p.PVC].Assignment; a.Node == p.Node && a.Generation == p.Generation {
		return assigned(a)
	}
	return Machine{Node: p.Node}
}

// isDown tells whether a pod has not been ready for so long that it will not be by itself.
func (v *view) isDown(p Pod) bool {
	return !p.Ready && v.Now.Sub(v.triesSince(p, p.ReadySince)) >= readyWithin
}

// triesSince is since when a pod could have come up: since it was made, or changed, and, where
// its node is ready, since that is.
func (v *view) triesSince(p Pod, changed time.Time) time.Time {
	times := []time.Time{p.Created, changed}
	if n := v.node[p.Node]; n.Ready {
		times = append(times, n.ReadySince)
	}
	return slices.MaxFunc(times, time.Time.Compare)
}

// mayServe tells whether a server may have its pool imported: it has not exported it, and is
// ready or said so in its last report. The report counts no more once it is as old as
// readyWithin and the pod is down too.
func (v *view) mayServe(s Server) bool {
	if s.isReleased() || s.Ready {
		return !s.isReleased()
	}
	return s.serves() && !(v.isDown(s.Pod) && v.Now.Sub(s.Report.At) >= readyWithin)
}

// hasBeenIdle tells whether nothing has used the pool for releaseAfter.
func (v *view) hasBeenIdle(s Server) bool {
	return s.isIdle() && v.Now.Sub(s.IdleSince) >= releaseAfter
}

// isWanted tells whether an attach waits for a pool.
func (v *view) isWanted(pool string) bool {
	return pool != "" && slices.ContainsFunc(v.Servers, func(s Server) bool { return s.wants(pool) })
}

func (s Server) wants(pool string) bool {
	return s.Report != nil && slices.Contains(s.Report.WantedPools, pool)
}

// remove is how a pod is deleted. On a dead machine no kubelet is left to end it, so that it
// is deleted by force; but not if something was written to the pod since it was seen, which
// a kubelet may have done.
func (v *view) remove(p Pod) PodRef {
	ref := p.ref()
	if m := v.machine(p); v.isDead(m) {
		ref = p.asSeen()
		ref.Dead = m
	}
	return ref
}

// isGoing tells whether the pod is being deleted and there is nothing more to do: its kubelet
// may yet end it; or that cannot, and only finalizers keep what is to go by force.
func (v *view) isGoing(p Pod) bool {
	keptByFinalizers := len(p.Finalizers) > 0 && !v.Now.Before(p.GoneBy)
	return p.Deleting && (keptByFinalizers || !v.isDead(v.machine(p)))
}
