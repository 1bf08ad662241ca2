package plan

import (
	"fmt"

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
