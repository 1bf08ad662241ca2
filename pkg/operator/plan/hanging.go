package plan

import (
	"fmt"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// hangs tells whether a pod has been being deleted for so long that it will not go by itself.
// A pod of a dead machine is deleted by force, so that only finalizers can keep it.
func (v *view) hangs(p Pod) bool {
	return p.Deleting && v.Now.Sub(p.GoneBy) >= readyWithin && (len(p.Finalizers) > 0 || !v.isDead(v.machine(p)))
}

// waitFor tells of a pod that hangs, in an Event on the object that waits for it to go.
func (v *view) waitFor(p Pod, on Object) []Action {
	if !v.hangs(p) {
		return nil
	}
	do := fmt.Sprintf("A process that hangs in the kernel ends with a reboot. If the machine is off, say so: %s", specs.SaysOff(p.Node))
	if len(p.Finalizers) > 0 {
		do = fmt.Sprintf("It has finalizers (%s): whoever put them there has to take them off.", strings.Join(p.Finalizers, ", "))
	}
	return []Action{Warn{on, "PodStuck", fmt.Sprintf("Nothing more is done here until pod %s, which is being deleted, has gone from node %s: kubectl -n %s describe pod %[1]s, and kubelet's log, tell why it does not. %[4]s", p.Name, p.Node, v.Cluster.Namespace, do)}}
}

// isLeftAttached tells whether a PVC has been free for so long that its volume, if it is still
// attached, will not be detached by itself.
func (v *view) isLeftAttached(p PVC) bool {
	freed := p.Assignment.Freed
	return p.Assignment.IsFree() && !freed.IsZero() && v.Now.Sub(freed) >= readyWithin
}

// attachmentsLeft tells of what has a free PVC's volume attached and does not let go.
func (v *view) attachmentsLeft(p PVC) []Action {
	if !v.isLeftAttached(p) {
		return nil
	}
	var actions []Action
	for _, a := range v.Attachments {
		if a.Volume == p.Volume {
			actions = append(actions, p.warn("AttachmentStuck", fmt.Sprintf("It is free, and its volume %s is attached to node %s still, so that no node of that name gets it, and another may wait for it: kubectl describe volumeattachment %s, and the log of the volume's CSI driver, tell why. If the disk is not attached there any more, delete that VolumeAttachment.", a.Volume, a.Node, a.Name)))
		}
	}
	return actions
}
