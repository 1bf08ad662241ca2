package plan

import (
	"fmt"
	"slices"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// assign gives every node without a PVC one: the oldest free one that it may have,
// else a new one. What stays free and is needed is then served beside another.
func (v *view) assign() []Action {
	var actions []Action
	taken := map[string]bool{}
	for _, n := range v.spares() {
		if p, found := v.adoptable(n, taken); found {
			taken[p.Name] = true
			actions = append(actions, v.assignTo(p, n))
		} else if !v.awaits(n) {
			actions = append(actions, v.create(n)...)
		}
	}
	return append(actions, v.serveBeside(taken)...)
}

func (v *view) assignTo(p PVC, n Node) Action {
	return AssignPVC{p.become(p.Assignment.To(n.Name, n.Machine, specs.PoolName(v.Config.PoolName.String(), p.UID)))}
}

// spares are the nodes that should have a PVC and have none.
func (v *view) spares() []Node {
	pools := v.poolsByNode()
	var spares []Node
	for _, n := range v.Nodes {
		if v.keeps(n) && n.Ready && pools[n.Name] == 0 {
			spares = append(spares, n)
		}
	}
	return spares
}

func (v *view) poolsByNode() map[string]int {
	pools := map[string]int{}
	for _, p := range v.PVCs {
		pools[p.Assignment.Node]++
	}
	return pools
}

// isAdoptable tells whether a PVC can be assigned: it is free, and no pod is left that it was
// assigned to before.
func (v *view) isAdoptable(p PVC) bool {
	return p.isSound() && p.Assignment.IsFree() && len(v.servers[p.Name]) == 0 && len(v.holders[p.Name]) == 0
}

// isSound tells whether a PVC can be used, and nobody has given it up.
func (p PVC) isSound() bool {
	return p.Malformed == "" && !p.Deleting && !p.Lost && !p.Assignment.Delete
}

func (v *view) adoptable(n Node, taken map[string]bool) (PVC, bool) {
	for _, p := range v.PVCs {
		if v.isAdoptable(p) && !taken[p.Name] && p.fits(n) && !v.isHeldBack(p, n) {
			return p, true
		}
	}
	return PVC{}, false
}

// isHeldBack tells whether an earlier node of the name still has the volume attached.
// Kubernetes would take that for the node's own attachment, and the disk would never
// come.
func (v *view) isHeldBack(p PVC, n Node) bool {
	return slices.ContainsFunc(v.Attachments, func(a Attachment) bool {
		return a.Volume == p.Volume && a.Node == n.Name && a.Created.Before(n.Created)
	})
}

// fits tells whether the node can have the PVC's volume attached.
func (p PVC) fits(n Node) bool { return p.Reach.Includes(n.Name, n.Labels) }

// awaits tells whether a PVC that the node may have is about to be free, so that
// none is made for it.
func (v *view) awaits(n Node) bool {
	pools := v.poolsByNode()
	return slices.ContainsFunc(v.PVCs, func(p PVC) bool {
		return p.isSound() && p.fits(n) && (v.isComing(p, pools) || p.Assignment.IsFree() && v.isHeldBack(p, n) && !v.isLeftAttached(p))
	})
}

// isComing tells whether a PVC that is not adoptable is about to be.
func (v *view) isComing(p PVC, pools map[string]int) bool {
	a, server := p.Assignment, v.server(p)
	from := v.node[a.Node]
	switch {
	case !v.podsCanGo(p), v.mayBeUnrecorded(p):
		return false // nobody knows for how long
	case a.IsFree():
		return !v.isAdoptable(p)
	case v.isDead(assigned(a)), v.isMissing(a):
		return true
	case !from.Ready:
		return false
	case a.IsReleased(), a.IsGivenUp(), server != nil && server.isReleased():
		return server == nil || !v.mayServe(*server)
	case v.keeps(from) && pools[a.Node] < 2:
		return false
	}
	// It leaves when it has been idle for long enough.
	return server != nil && server.Ready && server.isIdle() && !v.isWanted(a.Pool)
}

// podsCanGo tells whether the pods of a PVC can be deleted: none hangs, and the kubelet of
// each is at work, or its machine is dead.
func (v *view) podsCanGo(p PVC) bool {
	stuck := func(pod Pod) bool {
		n, found := v.node[pod.Node]
		return v.hangs(pod) || found && !n.Ready && !v.isDead(v.machine(pod))
	}
	return !slices.ContainsFunc(v.holders[p.Name], stuck) &&
		!slices.ContainsFunc(v.servers[p.Name], func(s Server) bool { return stuck(s.Pod) })
}

// create makes a PVC for a node, unless there is one that was made for it and never used:
// the node gets that next, or a person is told why it cannot.
func (v *view) create(n Node) []Action {
	for attempt := 0; ; attempt++ {
		name := specs.PVCName(n.Name, n.UID, attempt)
		p, found := v.pvc[name]
		if !found {
			return []Action{CreatePVC{name}}
		}
		if !p.isSound() || p.Assignment.Generation > 0 {
			continue
		}
		if p.fits(n) {
			return nil // somebody else takes it just now
		}
		return []Action{p.warn("OutOfReach", fmt.Sprintf("It was made for node %s, which cannot reach its volume %s: use a StorageClass that binds when a pod is scheduled (volumeBindingMode: WaitForFirstConsumer).", n.Name, p.Volume))}
	}
}

// serveBeside assigns free PVCs, whose dots would else be out of reach, to nodes
// that have one already: at once where pods wait for a pool that was released, and
// after adoptWithin that of a node that died.
func (v *view) serveBeside(taken map[string]bool) []Action {
	pools := v.poolsByNode()
	var actions []Action
	for _, p := range v.PVCs {
		if taken[p.Name] || !v.isAdoptable(p) || p.Volume == "" || !v.isMissed(p) {
			continue
		}
		if n, found := v.leastLoaded(p, pools); found {
			pools[n.Name]++
			actions = append(actions, v.assignTo(p, n))
		}
	}
	return actions
}

// isMissed tells whether a free PVC has dots that are wanted, or may be.
func (v *view) isMissed(p PVC) bool {
	a := p.Assignment
	switch {
	case a.Generation == 0:
		return false // there is no pool on it
	case a.IsReleased():
		return v.isWanted(a.Pool)
	}
	return v.Now.Sub(a.Freed) >= adoptWithin
}

// leastLoaded is the node that serves a PVC beside others: one where pods wait for its pool,
// else that with the fewest pools.
func (v *view) leastLoaded(p PVC, pools map[string]int) (Node, bool) {
	var best Node
	found := false
	better := func(n Node) bool {
		if wants := v.nodeWants(n, p); wants != v.nodeWants(best, p) {
			return wants
		}
		return pools[n.Name] < pools[best.Name]
	}
	for _, n := range v.Nodes {
		if v.keeps(n) && n.Ready && pools[n.Name] > 0 && p.fits(n) && !v.isHeldBack(p, n) && (!found || better(n)) {
			best, found = n, true
		}
	}
	return best, found
}

func (v *view) nodeWants(n Node, p PVC) bool {
	return slices.ContainsFunc(v.Servers, func(s Server) bool { return s.Node == n.Name && s.wants(p.Assignment.Pool) })
}

// giveAway are PVCs that nothing uses, of nodes that have several: they go to nodes
// that have none, instead of new ones. A node keeps one.
func (v *view) giveAway() map[string]bool {
	pools := v.poolsByNode()
	given := map[string]bool{}
	for _, n := range v.spares() {
		if _, found := v.adoptable(n, nil); found {
			continue
		}
		for _, p := range slices.Backward(v.PVCs) {
			server := v.server(p)
			if given[p.Name] || pools[p.Assignment.Node] < 2 || !p.isSound() || !p.fits(n) || p.Assignment.IsReleased() ||
				server == nil || !v.hasBeenIdle(*server) || v.isWanted(p.Assignment.Pool) {
				continue
			}
			given[p.Name] = true
			pools[p.Assignment.Node]--
			break
		}
	}
	return given
}
