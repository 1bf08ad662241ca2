package plan

import "fmt"

// silent tells of servers that are ready, as their kubelets see it, and do not answer the
// operator: as long as it is not known whether its pool is used and well, a node gives none
// up, and no other server is replaced.
func (v *view) silent() []Action {
	var actions []Action
	for _, s := range v.Servers {
		since := s.ReadySince
		if s.Report != nil && s.Report.At.After(since) {
			since = s.Report.At
		}
		if !s.Ready || s.Deleting || !v.node[s.Node].Ready || v.isDead(v.machine(s.Pod)) || since.IsZero() || v.Now.Sub(since) < silentFor {
			continue
		}
		actions = append(actions, Warn{Object{"Node", s.Node}, "ServerSilent",
			fmt.Sprintf("%s is ready and does not answer the operator, so that no other server is replaced, and no pool given up by this node. Do NetworkPolicies let pod dotmesh-operator reach it, and is the Secret dotmesh-operator-client signed by the CA that servers believe? The log of the operator, with -v=2, tells.", s.Name)})
	}
	return actions
}
