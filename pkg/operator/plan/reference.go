package plan

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Reference is what an Event on an object names it by. It has the object's UID, if that was
// observed: without, `kubectl describe` does not show the Event.
func (s State) Reference(o Object) *corev1.ObjectReference {
	ref := &corev1.ObjectReference{APIVersion: "v1", Kind: o.Kind, Name: o.Name, Namespace: s.Cluster.Namespace}
	switch o.Kind {
	case "Node":
		ref.Namespace = ""
		if i := slices.IndexFunc(s.Nodes, func(n Node) bool { return n.Name == o.Name }); i >= 0 {
			ref.UID = s.Nodes[i].UID
		}
	case "PersistentVolumeClaim":
		if i := slices.IndexFunc(s.PVCs, func(p PVC) bool { return p.Name == o.Name }); i >= 0 {
			ref.UID = s.PVCs[i].UID
		}
	case "Pod":
		if i := slices.IndexFunc(s.Holders, func(p Pod) bool { return p.Name == o.Name }); i >= 0 {
			ref.UID = s.Holders[i].UID
		}
		if i := slices.IndexFunc(s.Servers, func(p Server) bool { return p.Name == o.Name }); i >= 0 {
			ref.UID = s.Servers[i].UID
		}
	}
	return ref
}
