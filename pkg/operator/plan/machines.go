package plan

import (
	"fmt"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// isUnrecorded tells whether the node is the machine that the PVC was assigned to, although
// the assignment does not name it so: the machine has booted or registered anew since, or
// the assignment is from before machines were written down.
func (v *view) isUnrecorded(p PVC) bool {
	was := p.Assignment.Machine
	n, found := v.node[p.Assignment.Node]
	if !found || n.OutOfService || n.Boot == "" || n.Machine == was {
		return false
	}
	return was.UID == "" || n.Boot == was.Boot || n.UID == was.UID && !n.isOtherThan(was) || v.mayHavePool(p, n)
}

// isOtherThan tells whether the node has another system UUID than a machine had. A node of
// the machine's UID may be that machine nevertheless: hypervisors and firmware change the
// UUID.
func (n Node) isOtherThan(m specs.Machine) bool {
	return m.System != "" && n.System != "" && n.System != m.System
}

// mayHavePool tells whether the node's machine has the PVC's pool imported, or may have,
// though it has booted since and may be another machine. Either a server there has said so
// since. Or the holder runs there, which it cannot without the disk, and the machine has the
// same system UUID, or no boot was written down that it could differ from.
// The disk alone proves nothing: where the cloud attaches it by the node's name, another
// machine gets it too, and could not import the pool.
func (v *view) mayHavePool(p PVC, n Node) bool {
	was, since := p.Assignment.Machine, n.Created
	if n.UID == was.UID {
		since = n.ReadySince
	}
	if s := v.server(p); s != nil && s.serves() && s.Report.At.After(since) {
		return true
	}
	holder := v.holder(p)
	return holder != nil && holder.Ready && v.hasToldPods(n) && (was.Boot == "" || was.System != "" && n.System == was.System)
}

// mayBeUnrecorded tells whether isUnrecorded cannot be answered yet, so that the PVC has to
// wait: if it was freed, its pool might be taken from under its pods. On a machine of another
// system UUID only a server's word counts, which would have come within tellWithin.
func (v *view) mayBeUnrecorded(p PVC) bool {
	n, found := v.node[p.Assignment.Node]
	switch {
	case !found || n.OutOfService || n.UID == p.Assignment.Machine.UID:
		return false
	case n.Boot == "":
		return true
	case v.server(p) == nil && v.holder(p) == nil:
		return false
	case n.isOtherThan(p.Assignment.Machine):
		return v.Now.Sub(n.Created) < tellWithin
	}
	return !v.hasToldPods(n)
}

// hasToldPods tells whether the node's kubelet has had the time to tell how its pods are. Until
// then they look as the kubelet of an earlier machine left them.
func (v *view) hasToldPods(n Node) bool {
	return n.Ready && v.Now.Sub(n.Created) >= tellWithin && v.Now.Sub(n.ReadySince) >= tellWithin
}

// unknownNode tells of a node that does not become ready, so that it stays unknown whether it
// is the one that the PVC was assigned to.
func (v *view) unknownNode(p PVC) []Action {
	n := v.node[p.Assignment.Node]
	if v.Now.Sub(n.Created) < knownWithin {
		return nil
	}
	return []Action{p.warn("NodeUnknown", fmt.Sprintf("It is assigned to a node %s that was there before this one, and whose pool this one's machine may have imported: that is known when this node has been ready for %s. If it cannot be, and its machine is off, say so, and the pool goes to another: %s", n.Name, tellWithin, specs.SaysOff(n.Name)))}
}

// anotherSystem tells of a node whose machine booted with another system UUID, and whose
// server does not come up. If it is another machine, it cannot import what the earlier one
// did not export.
func (v *view) anotherSystem(p PVC) []Action {
	n, was, s := v.node[p.Assignment.Node], p.Assignment.Machine, v.server(p)
	if n.UID != was.UID || n.Boot == was.Boot || !n.isOtherThan(was) || s == nil || v.mayServe(*s) || !v.isDown(s.Pod) {
		return nil
	}
	return []Action{p.warn("AnotherMachine", fmt.Sprintf("It is assigned to node %s as machine %s, and that is %s now, where %s does not come up. If it is another machine, shut it down and say so until the PVC is free, and the next server may take the pool over: %s", n.Name, was.System, n.System, s.Name, specs.SaysOff(n.Name)))}
}
