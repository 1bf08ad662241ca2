package plan

import (
	"fmt"
	"slices"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
)

// RolloutState is how far the servers are with what the configuration and the image want
// of them.
type RolloutState string

// The states of a rollout.
const (
	RolloutDone    RolloutState = "done"
	RolloutRunning RolloutState = "running"
	RolloutStopped RolloutState = "stopped" // a replaced server does not come up
)

// RolloutOf tells how far the rollout is.
func RolloutOf(s State) RolloutState {
	state, _ := look(s).rollout()
	return state
}

// ServersCameUp tells whether what servers are made of has shown that it runs: one is ready with
// it, none failed with it, and all have it whose nodes are ready; or there are to be none.
func ServersCameUp(s State) bool {
	v := look(s)
	slots, ready := v.slots(), 0
	for _, s := range slots {
		switch {
		case !s.node.Ready:
		case !s.isThere():
			if !s.noPool {
				return false
			}
		case s.server.Spec != s.spec, v.hasFailed(*s.server):
			return false
		case s.server.Ready:
			ready++
		}
	}
	return ready > 0 || len(slots) == 0
}

// slot is a server that should be there.
type slot struct {
	node   Node
	server *Server // nil while there is none
	spec   string  // what its annotation should be
	// noPool says that no server has ever told of a pool there.
	noPool bool
}

// isThere tells whether it has a server that is not about to make room for another.
func (s slot) isThere() bool {
	return s.server != nil && !s.server.Deleting && !s.server.hasEnded()
}

// isBroken tells whether this very pod never came up, so that nothing is lost with it.
func (s Server) isBroken() bool { return !s.Ready && !s.WasReady }

// hasFailed tells whether a server will not come up by itself.
func (v *view) hasFailed(s Server) bool {
	return s.isBroken() && (s.CannotPull || v.Now.Sub(v.triesSince(s.Pod, s.Created)) >= readyWithin)
}

// rollout replaces one server at a time, and the next only when no other one is
// missing or not yet well. Outdated ones that are not well go first: what is rolled
// out may be what mends them.
func (v *view) rollout() (RolloutState, []Action) {
	var replace []Action
	var sick, well, failed []Server
	slots, updated, waits := v.slots(), 0, false
	for _, s := range slots {
		switch {
		case !s.isThere(), !s.node.Ready:
			waits = true
		case s.server.Spec != s.spec && s.server.isBroken():
			replace = append(replace, DeleteServer{s.server.ref()})
		case s.server.Ready && s.server.Report == nil:
			waits = true
		case s.server.Spec != s.spec && s.server.isWell():
			well = append(well, *s.server)
		case s.server.Spec != s.spec:
			sick = append(sick, *s.server)
		case v.hasFailed(*s.server):
			failed = append(failed, *s.server)
		case !s.server.isWell():
			waits = true
		}
		if s.isThere() && s.server.Spec == s.spec && !s.server.isBroken() {
			updated++
		}
	}
	if outdated := append(sick, well...); len(replace)+len(failed) == 0 && !waits && len(outdated) > 0 {
		replace = append(replace, DeleteServer{outdated[0].ref()})
	}
	switch {
	case len(failed) > 0:
		return RolloutStopped, append(replace, Warn{Object{"Pod", failed[0].Name}, "RolloutStopped",
			fmt.Sprintf("%s: %d of %d servers are as they should be, and no other is replaced until this one is well, or another image or configuration is given. One that is deleted or drained meanwhile is made as this one.", failed[0].failure(), updated, len(slots))})
	case updated == len(slots):
		return RolloutDone, replace
	}
	return RolloutRunning, replace
}

// failure tells a person why a server that has failed does not come up.
func (s Server) failure() string {
	if s.CannotPull {
		return fmt.Sprintf("the image of %s cannot be had", s.Name)
	}
	return fmt.Sprintf("%s is not ready", s.Name)
}

// slots are the servers that should be there, by node, but for those that are about
// to give their pools up.
func (v *view) slots() []slot {
	if v.Config.StorageMode == config.LocalMode {
		return v.localSlots()
	}
	given := v.giveAway()
	var slots []slot
	for _, p := range v.PVCs {
		a := p.Assignment
		n := v.node[a.Node]
		n.Name = a.Node // also of one that is missing, and waited for
		if a.IsFree() || p.Malformed != "" || p.Deleting || p.Lost || v.isDead(assigned(a)) || a.IsReleased() || a.IsGivenUp() {
			continue
		}
		s := slot{node: n, server: v.server(p), spec: v.spec(p.VolumeMode), noPool: a.Pool == ""}
		if !v.isGivingUp(s, v.isLeaving(p, given[p.Name])) {
			slots = append(slots, s)
		}
	}
	return slots
}

func (v *view) localSlots() []slot {
	servers := map[string]*Server{}
	for i := range v.servers[""] {
		servers[v.servers[""][i].Node] = &v.servers[""][i]
	}
	var slots []slot
	for _, n := range v.Nodes {
		s := slot{node: n, server: servers[n.Name], spec: v.spec("")}
		if !n.OutOfService && n.isLabelled() && !v.isGivingUp(s, !v.isSelected(n)) {
			slots = append(slots, s)
		}
	}
	return slots
}

// isGivingUp tells whether a server is not waited for, nor replaced: its pool is
// released, or is about to be, or its node is leaving and out of touch, or cannot run it.
func (v *view) isGivingUp(s slot, leaving bool) bool {
	if s.server != nil && s.server.isReleased() {
		return true
	}
	return leaving && (s.server == nil || !s.node.Ready || v.hasBeenIdle(*s.server) || v.failsAlone(s))
}

// failsAlone tells whether it is no reason to stop the rollout that a server does not come up:
// there never was a pool, or another server has come up with what is rolled out, so that the
// fault is the node's.
func (v *view) failsAlone(s slot) bool {
	return s.server.Spec == s.spec && v.hasFailed(*s.server) &&
		(s.noPool || slices.ContainsFunc(v.Servers, func(other Server) bool { return other.Spec == s.spec && other.isWell() }))
}
