package plan

import "github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"

// local plans for pools in files of the nodes: every node that is selected has a
// server, cordoned or not, because its dots can be had from nowhere else.
func (v *view) local() []Action {
	servers := map[string]*Server{}
	var actions []Action
	for i := range v.Servers {
		s := &v.Servers[i]
		if v.isDead(s.Node) {
			actions = append(actions, deleteByForce(s.Pod))
			continue
		}
		servers[s.Node] = s
	}
	for _, n := range v.Nodes {
		if n.OutOfService {
			continue
		}
		if action := v.localNode(n, servers[n.Name]); action != nil {
			actions = append(actions, action)
		}
	}
	return actions
}

// localNode is the one next step of a node, nil when there is none.
func (v *view) localNode(n Node, s *Server) Action {
	switch {
	case s == nil && v.selected(n) && !n.isLabelled():
		return LabelNode{n.Name}
	case s == nil && (v.selected(n) || n.isLabelled()):
		// Also for a node that left the selector: the pool may be imported, and only
		// a server can export it.
		return CreateServer{specs.Server{Node: n.Name, Zone: n.zone()}}
	case s == nil || s.Deleting:
		return nil
	case s.hasEnded():
		return DeleteServer{s.ref()}
	case s.isReleased() && !v.selected(n) && n.isLabelled():
		// Before the server goes: without it nobody knows that the pool is exported.
		return UnlabelNode{n.Name, n.ResourceVersion}
	case s.isReleased():
		return DeleteServer{s.ref()}
	case !n.isLabelled():
		return LabelNode{n.Name}
	case !v.selected(n) && v.idle(*s):
		return Release{PodRef: s.ref()}
	}
	return nil
}

func deleteByForce(p Pod) Action {
	return DeleteServer{PodRef{Name: p.Name, UID: p.UID, Force: true}}
}
