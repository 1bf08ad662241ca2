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
)

// Next is what can be done now, each action for itself and in any order. Whoever
// has done one, or failed to, observes and asks again; nothing to do means that the
// cluster is as it should be, or that what is missing is somebody else's to do.
func Next(s State) []Action {
	v := look(s)
	if s.Config.StorageMode == config.LocalMode {
		return v.local()
	}
	return nil
}

// view is the state, sorted and indexed.
type view struct {
	State
	node map[string]Node
}

func look(s State) *view {
	byName := func(a, b Node) int { return cmp.Compare(a.Name, b.Name) }
	v := &view{State: s, node: map[string]Node{}}
	v.Nodes = slices.SortedFunc(slices.Values(s.Nodes), byName)
	v.Servers = slices.SortedFunc(slices.Values(s.Servers), func(a, b Server) int { return cmp.Compare(a.Name, b.Name) })
	for _, n := range v.Nodes {
		v.node[n.Name] = n
	}
	return v
}

// selected tells whether the node is to have a server.
func (v *view) selected(n Node) bool {
	return !n.Deleting && v.Config.NodeSelector.Matches(n.Labels)
}

// isDead tells whether a node's machine is off for certain: Kubernetes has no node
// of the name any more, or somebody says so by the out-of-service taint.
func (v *view) isDead(node string) bool {
	n, found := v.node[node]
	return !found || n.OutOfService
}

func (n Node) isLabelled() bool { return n.Labels[specs.LabelServer] == specs.True }

func (n Node) zone() string { return n.Labels["topology.kubernetes.io/zone"] }

// has ended says that its containers will not run again.
func (p Pod) hasEnded() bool { return p.Phase == corev1.PodFailed || p.Phase == corev1.PodSucceeded }

func (p Pod) ref() PodRef { return PodRef{Name: p.Name, UID: p.UID} }

func (s Server) isReleased() bool {
	return s.Report != nil && s.Report.Released && s.Report.Generation == s.Generation
}

// idle tells whether nothing has used the pool for releaseAfter.
func (v *view) idle(s Server) bool {
	return s.Report != nil && !s.Report.InUse && !s.IdleSince.IsZero() && v.Now.Sub(s.IdleSince) >= releaseAfter
}
