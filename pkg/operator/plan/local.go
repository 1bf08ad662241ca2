package plan

import (
	"fmt"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// local plans for pools in files of the nodes. Every node that is selected has a
// server, cordoned or not, because its dots can be had from nowhere else.
func (v *view) local() []Action {
	servers := map[string]*Server{}
	var actions []Action
	for i := range v.servers[""] {
		s := &v.servers[""][i]
		if v.isDead(v.machine(s.Pod)) {
			actions = append(actions, DeleteServer{v.remove(s.Pod)})
			continue
		}
		servers[s.Node] = s
	}
	for _, n := range v.Nodes {
		if !n.OutOfService {
			actions = append(actions, v.localNode(n, servers[n.Name])...)
		}
	}
	return actions
}

// localNode is the next step of a node.
func (v *view) localNode(n Node, s *Server) []Action {
	switch {
	case s == nil && !n.isLabelled() && v.isSelected(n) && n.takesPods():
		return []Action{LabelNode{n.Name}}
	case s == nil && n.isLabelled():
		// Also on a node that left the selector: the pool may be imported, and only a
		// server can export it.
		return []Action{CreateServer{specs.Server{Node: n.Name, Zone: n.zone()}}}
	case s == nil:
		return nil
	case s.Deleting:
		return v.waitFor(s.Pod, Object{"Node", n.Name})
	case s.hasEnded():
		return []Action{DeleteServer{s.ref()}}
	case s.isReleased() && !v.isSelected(n) && n.isLabelled():
		// Before the server goes: without it nobody knows that the pool is exported.
		return []Action{UnlabelNode{n.Name, n.ResourceVersion}}
	case s.isReleased():
		return []Action{DeleteServer{s.ref()}}
	case !n.isLabelled() && !v.isSelected(n) && v.isStuck(*s) && !n.Created.After(s.Created):
		// A person took it off (see stuck): a node that registers anew is younger.
		return []Action{DeleteServer{s.ref()}}
	case !n.isLabelled():
		return []Action{LabelNode{n.Name}}
	case !v.isSelected(n):
		return v.release(*s, fmt.Sprintf("kubectl label node %s %s-", n.Name, specs.LabelServer))
	}
	return nil
}

// PoolInUse is the reason of an Event on a node that is to give its pool up: who uses it.
const PoolInUse = "PoolInUse"

// release has a server give its pool up. instead is the command with which a person says
// that there is none to give up, where the server cannot.
func (v *view) release(s Server, instead string) []Action {
	if v.isStuck(s) {
		return v.stuck(s.Pod, instead)
	}
	return v.ask(s)
}

// ask asks a server to give its pool up, or tells who has it wait.
func (v *view) ask(s Server) []Action {
	switch {
	case s.Report == nil:
		return nil
	case v.hasBeenIdle(s) && !v.isWanted(s.Report.Pool):
		return []Action{Release{s.ref(), s.Generation}}
	case s.Report.InUse && len(s.Report.Users) > 0:
		return []Action{Warn{Object{"Node", s.Node}, PoolInUse,
			fmt.Sprintf("The pool of %s is given up once nothing has used it for %s. It is used by %s.", s.Name, releaseAfter, strings.Join(s.Report.Users, ", "))}}
	}
	return nil
}

// isStuck tells whether a server does not come up, or not again, so that it cannot give its
// pool up. That of a machine which was rebooted is the same pod, which was ready before.
func (v *view) isStuck(s Server) bool {
	return !v.mayServe(s) && (v.hasFailed(s) || v.isDown(s.Pod))
}

// stuck tells that a node keeps its pool because a pod does not come up. Whether there is
// a pool is not known even if no server ever told of one: it may have imported it and
// failed, or told when no operator listened. A person can look.
func (v *view) stuck(pod Pod, instead string) []Action {
	return []Action{Warn{Object{"Node", pod.Node}, "CannotLeave",
		fmt.Sprintf("Its pool can only be given up by a server, and %s does not come up: kubectl -n %s describe pod %[1]s, and its log, tell why. If that cannot be mended, and there is no pool of dotmesh in zpool list on the node (without the module zfs there is none), say so: %[3]s", pod.Name, v.Cluster.Namespace, instead)}}
}
