package plan

import (
	"fmt"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// PoolInUse is the reason of an Event on a node that is to give its pool up: who uses it.
const PoolInUse = "PoolInUse"

// ofPod stands before a pod's UID, where a server names a process.
const ofPod = " of pod "

// release has a server give its pool up. Where the server does not come up, a person is told
// of the command instead, which says that there is no pool to give up.
func (v *view) release(s Server, instead string) []Action {
	if v.isStuck(s) {
		return v.stuck(s.Pod, instead)
	}
	return v.ask(s)
}

// ask asks a server to give its pool up once that has been idle, and until then tells who
// uses it.
func (v *view) ask(s Server) []Action {
	switch {
	case s.Report == nil:
		return nil
	case v.hasBeenIdle(s) && !v.isWanted(s.Report.Pool):
		return []Action{Release{s.ref(), s.Generation}}
	case s.Report.InUse && len(s.Report.Users) > 0:
		return []Action{Warn{Object{"Node", s.Node}, PoolInUse,
			fmt.Sprintf("The pool of %s is given up once nothing has used it for %s. It is used by %s", s.Name, releaseAfter, UsersText(s.Report.Users))}}
	}
	return nil
}

// UsersText names who uses a pool, and says how a person finds the pods that a server knows by
// their UIDs only.
func UsersText(names []string) string {
	text := strings.Join(names, ", ") + "."
	if strings.Contains(text, ofPod) {
		text += " Which pod has a UID: kubectl get pods -A -o custom-columns=UID:.metadata.uid,NAMESPACE:.metadata.namespace,POD:.metadata.name"
	}
	return text
}

// isStuck tells whether a server does not come up, or not again, so that it cannot give its
// pool up. After a reboot of its machine the pod is the same and was ready before: it has not
// failed, but may be down.
func (v *view) isStuck(s Server) bool {
	return !v.mayServe(s) && (v.hasFailed(s) || v.isDown(s.Pod))
}

// stuck tells that a node keeps its pool because a pod does not come up. Whether there is
// a pool is not known even if no server ever told of one: a server may have imported it and
// then failed, or have told of it while no operator ran. A person can look.
func (v *view) stuck(pod Pod, instead string) []Action {
	if n := v.node[pod.Node]; n.Name != "" && !n.Ready {
		return []Action{Warn{Object{"Node", pod.Node}, "CannotLeave",
			fmt.Sprintf("Its pool can only be given up by a server, and the node is not ready, so that %s does not come up. If its machine is off, say so: %s", pod.Name, specs.SaysOff(pod.Node))}}
	}
	return []Action{Warn{Object{"Node", pod.Node}, "CannotLeave",
		fmt.Sprintf("Its pool can only be given up by a server, and %s does not come up: kubectl -n %s describe pod %[1]s, and its log, tell why. If that cannot be mended, and there is no pool of dotmesh in zpool list on the node (without the module zfs there is none), say so: %[3]s", pod.Name, v.Cluster.Namespace, instead)}}
}
