package plan

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// pvcPerNode plans for pools on PersistentVolumeClaims.
func (v *view) pvcPerNode() []Action {
	given := v.giveAway()
	var actions []Action
	for _, p := range v.PVCs {
		actions = append(actions, v.step(p, given[p.Name])...)
	}
	actions = append(actions, v.orphans()...)
	actions = append(actions, v.guards()...)
	actions = append(actions, v.assign()...)
	return append(actions, v.labels()...)
}

// step is what a PVC needs next. given says that its node has another and gives
// this one away.
func (v *view) step(p PVC, given bool) []Action {
	a := p.Assignment
	strays, waits := v.strays(p)
	switch {
	case p.Malformed != "":
		return []Action{p.warn("Malformed", "It is left alone: "+p.Malformed+".")}
	case p.Lost && !p.Deleting:
		return []Action{p.warn("Lost", "Its PersistentVolume is gone, and the pool on it. Delete the PVC, and its node gets another.")}
	case v.isUnrecorded(p):
		return []Action{RecordNode{p.become(a.OnMachine(v.node[a.Node].Machine))}}
	case v.mayBeUnrecorded(p):
		return v.unknownNode(p)
	case waits:
		return strays
	case a.IsFree() && a.Delete && !p.Deleting:
		return []Action{DeletePVC{p.ref()}}
	case a.IsFree():
		return v.attachmentsLeft(p)
	case v.isDead(assigned(a)):
		return []Action{FreePVC{Change: p.become(a.FreedAt(v.Now)), Dead: assigned(a)}}
	case a.IsReleased(), a.IsGivenUp():
		return v.letGo(p)
	case v.isMissing(a):
		return nil
	case p.Volume == "" && (p.Deleting || v.isLeaving(p, given)), p.Deleting && p.Lost:
		// There is no pool on it. It is freed before its pods are deleted: if it is bound
		// meanwhile it has changed, and freeing it fails.
		return []Action{FreePVC{Change: p.become(a.FreedAt(v.Now))}}
	}
	return append(v.serve(p, given), v.anotherSystem(p)...)
}

func (p PVC) ref() PVCRef { return PVCRef{p.Name, p.UID, p.ResourceVersion} }

func (p PVC) become(to specs.Assignment) Change { return Change{p.ref(), to} }

func (p PVC) object() Object { return Object{"PersistentVolumeClaim", p.Name} }

func (p PVC) warn(reason, message string) Action { return Warn{p.object(), reason, message} }

// strays deletes the pods that the PVC's assignment does not allow, a node's server
// before its holder; waits says that there are some yet. The pool of such a generation was
// exported, or its machine is off. A server that has it imported nevertheless is not
// deleted, but asked to give it up.
func (v *view) strays(p PVC) (actions []Action, waits bool) {
	a := p.Assignment
	isStray := func(pod Pod) bool { return pod.Node != a.Node || v.isDead(v.machine(pod)) }
	serverOn := map[string]bool{}
	for _, s := range v.servers[p.Name] {
		if !isStray(s.Pod) && s.Generation == a.Generation {
			continue
		}
		serverOn[s.Node], waits = true, true
		switch {
		case v.isGoing(s.Pod):
		case s.serves() && !v.isDead(v.machine(s.Pod)):
			actions = append(actions, v.ask(s)...)
		default:
			actions = append(actions, DeleteServer{v.remove(s.Pod)})
		}
		actions = append(actions, v.waitFor(s.Pod, p.object())...)
	}
	for _, h := range v.holders[p.Name] {
		if !isStray(h) {
			continue
		}
		waits = true
		actions = append(actions, v.waitFor(h, p.object())...)
		if !v.isGoing(h) && !serverOn[h.Node] {
			actions = append(actions, DeleteHolder{v.remove(h)})
		}
	}
	return actions, waits
}

// server and holder are those that the assignment allows.
func (v *view) server(p PVC) *Server {
	for _, s := range v.servers[p.Name] {
		if s.Node == p.Assignment.Node && s.Generation == p.Assignment.Generation {
			return &s
		}
	}
	return nil
}

func (v *view) holder(p PVC) *Pod {
	for _, h := range v.holders[p.Name] {
		if h.Node == p.Assignment.Node {
			return &h
		}
	}
	return nil
}

// isLeaving tells whether the PVC is to leave its node when nothing uses it.
func (v *view) isLeaving(p PVC, given bool) bool {
	return given || !v.keeps(v.node[p.Assignment.Node]) || (p.Deleting && p.Assignment.Delete)
}

// letGo takes down what a pool leaves that was released or given up: the server, then the
// holder, then the assignment.
func (v *view) letGo(p PVC) []Action {
	server, holder := v.server(p), v.holder(p)
	if server != nil && v.mayServe(*server) {
		return p.keep(*server)
	}
	if actions, waits := v.unconfirmed(p, server); waits {
		return actions
	}
	switch {
	case server != nil && !server.Deleting:
		return []Action{DeleteServer{server.ref()}}
	case server != nil:
		return v.waitFor(server.Pod, p.object())
	case holder != nil && !holder.Deleting:
		return []Action{DeleteHolder{holder.ref()}}
	case holder != nil:
		return v.waitFor(*holder, p.object())
	}
	return []Action{FreePVC{Change: p.become(p.Assignment.FreedAt(v.Now))}}
}

// unconfirmed waits where only an annotation says that a pool is not imported, and that cannot
// be believed yet.
func (v *view) unconfirmed(p PVC, server *Server) (actions []Action, waits bool) {
	a := p.Assignment
	if !a.IsGivenUp() && (server == nil || server.Deleting || server.isReleased()) {
		return nil, false
	}
	annotation := specs.AnnotationReleased
	if a.IsGivenUp() {
		annotation = specs.AnnotationGivenUp
	}
	said := fmt.Sprintf("An annotation (%s) says that its pool is not imported on node %s", annotation, a.Node)
	switch {
	case !v.node[a.Node].Ready:
		return []Action{p.warn("GivenUpWaits", fmt.Sprintf("%s, which is not ready: nobody can know that yet. It counts when the node is ready. If its machine is off, say so instead: %s", said, specs.SaysOff(a.Node)))}, true
	case a.IsGivenUp() && v.DotsAttached[a.Node]:
		return []Action{p.warn("GivenUpWaits", fmt.Sprintf("%s, and volumes of dotmesh are attached there, which may be on that pool: kubectl get volumeattachments names them. It counts when the pods that use them are gone.", said))}, true
	case server != nil && !server.Deleting && !v.isStuck(*server):
		return nil, true // it has just been started, and may be about to serve
	}
	return nil, false
}

// keep takes it back that a person said a pool was not imported, where its server says that
// it is: the pods that use it would lose their disk. Until a server that is ready has told,
// nothing is done.
func (p PVC) keep(s Server) []Action {
	if !s.serves() {
		return nil
	}
	return []Action{
		p.warn("PoolImported", fmt.Sprintf("An annotation (%s, or %s) says that its pool is not imported on node %s, and %s has it imported: it is kept, and the annotation taken back. The node can give it up by itself.", specs.AnnotationGivenUp, specs.AnnotationReleased, s.Node, s.Name)),
		MarkImported{p.become(p.Assignment.Imported())},
	}
}

// serve has a PVC served where it is assigned: label, budget, holder, server. One
// that is to leave is served until its server could export the pool.
func (v *view) serve(p PVC, given bool) []Action {
	n, server, holder := v.node[p.Assignment.Node], v.server(p), v.holder(p)
	h := specs.Holder{Node: n.Name, Claim: v.claim(p)}
	switch {
	case server != nil && server.isReleased():
		return []Action{MarkReleased{p.become(p.Assignment.ReleasedNow())}}
	case !n.isLabelled():
		return []Action{LabelNode{n.Name}}
	case p.Deleting && (server == nil || holder == nil):
		return []Action{v.unschedulable(p)}
	case !slices.Contains(v.Guards, h.Name()):
		return []Action{CreateGuard{h}}
	case holder == nil:
		return []Action{CreateHolder{h}}
	case holder.Deleting:
		return v.waitFor(*holder, p.object())
	case holder.hasEnded(), v.neverRan(*holder, p):
		return []Action{DeleteHolder{holder.asSeen()}}
	case server == nil && !holder.isRunning():
		return v.waitForHolder(p, *holder, given)
	case server == nil:
		return v.createServer(p, *holder)
	case server.Deleting:
		return v.waitFor(server.Pod, p.object())
	case server.hasEnded():
		return []Action{DeleteServer{server.ref()}}
	}
	actions := append(p.record(*server), v.warnOfHolder(p, *holder)...)
	if p.Deleting && !p.Assignment.Delete {
		actions = append(actions, p.deletingWarning())
	}
	switch {
	case p.Deleting && !p.Assignment.Delete:
		return actions // its pods are all that keeps it, and what is on it
	case v.isLeaving(p, given):
		return append(actions, v.release(*server, v.instead(p))...)
	}
	return append(actions, v.grow(p)...)
}

// instead is how a person says that no pool of the PVC is imported on its node.
func (v *view) instead(p PVC) string {
	return fmt.Sprintf("kubectl -n %s annotate --overwrite pvc %s %s=%d", v.Cluster.Namespace, p.Name, specs.AnnotationGivenUp, p.Assignment.Generation)
}

// waitForHolder plans for a PVC that gets its server when its holder runs.
func (v *view) waitForHolder(p PVC, holder Pod, given bool) []Action {
	switch {
	case p.Volume == "":
		return v.unbound(p)
	case v.isLeaving(p, given) && v.Now.Sub(holder.Created) >= readyWithin:
		return v.stuck(holder, v.instead(p))
	}
	return v.warnOfHolder(p, holder)
}

// warnOfHolder tells of a holder that has not run for long, on a node that could run it.
func (v *view) warnOfHolder(p PVC, holder Pod) []Action {
	if holder.isRunning() || !v.node[holder.Node].Ready || v.Now.Sub(holder.Created) < readyWithin {
		return nil
	}
	elsewhere := ""
	if on := slices.DeleteFunc(v.attachedTo(p.Volume), func(node string) bool { return node == holder.Node }); len(on) > 0 {
		elsewhere = fmt.Sprintf(" Its volume %s is attached to %s still: see to the CSI driver of the volume.", p.Volume, strings.Join(on, ", "))
	}
	others := ""
	if v.server(p) == nil {
		others = ", and no other server that is well is replaced"
	}
	return []Action{p.warn("HolderWaits", fmt.Sprintf("Pod %s, which keeps its disk on node %s, does not run. Until it does no server of this PVC is started%s: kubectl -n %s describe pod %[1]s tells why.%[5]s", holder.Name, holder.Node, others, v.Cluster.Namespace, elsewhere))}
}

// unbound tells of a PVC that gets no volume: what it asks for cannot be changed.
func (v *view) unbound(p PVC) []Action {
	if v.Now.Sub(p.Created) < boundWithin {
		return nil
	}
	return []Action{p.warn("Unbound", fmt.Sprintf("It has got no volume: kubectl -n %s describe pvc %s tells why. If it cannot have one of its class and size, set pvcPerNode.storageClass or pvcPerNode.pvSizePerNode, and delete it: its node gets one of the class and size of then.", v.Cluster.Namespace, p.Name))}
}

// neverRan tells whether a holder has not started, and one that is made now would have
// another spec, with which it may.
func (v *view) neverRan(h Pod, p PVC) bool {
	return h.Phase == corev1.PodPending && h.Spec != specs.HolderHash(v.Cluster, p.VolumeMode)
}

func (v *view) claim(p PVC) specs.Claim {
	return specs.Claim{
		PVC: p.Name, UID: p.UID, VolumeMode: p.VolumeMode,
		PoolName: p.Assignment.PoolName, Generation: p.Assignment.Generation,
	}
}

// createServer makes a PVC's server. If its pool was not exported, the server may take it
// over, and is made only when no other node can reach the disk any more.
func (v *view) createServer(p PVC, holder Pod) []Action {
	claim := v.claim(p)
	if p.Assignment.NeedsTakeOver() {
		if on := v.attachedTo(p.Volume); !slices.Equal(on, []string{p.Assignment.Node}) {
			return v.waitForDetach(p, holder, on)
		}
		claim.TakeOver = true
	}
	return []Action{CreateServer{specs.Server{Node: p.Assignment.Node, Zone: v.node[p.Assignment.Node].zone(), Claim: &claim}}}
}

// attachedTo are the nodes that a volume is attached to, may be, or will be.
func (v *view) attachedTo(volume string) []string {
	var nodes []string
	for _, a := range v.Attachments {
		if a.Volume == volume {
			nodes = append(nodes, a.Node)
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

func (v *view) waitForDetach(p PVC, holder Pod, on []string) []Action {
	if v.Now.Sub(holder.Created) < attachedWithin {
		return nil
	}
	where := "nowhere, as far as VolumeAttachments tell"
	if len(on) > 0 {
		where = "to " + strings.Join(on, ", ")
	}
	return []Action{p.warn("TakeOverWaits", fmt.Sprintf("Its last server did not export the pool, so that it is only imported when volume %s is attached to node %s alone; it is attached %s.", p.Volume, p.Assignment.Node, where))}
}

// record writes down which pool a PVC holds, so that an attach which waits for that pool is
// understood when no server has it.
func (p PVC) record(s Server) []Action {
	switch {
	case s.Report == nil || s.Report.Pool == "" || s.Report.Pool == p.Assignment.Pool:
		return nil
	case p.Assignment.Pool != "":
		return []Action{p.warn("AnotherPool", fmt.Sprintf("It held pool %s, and now holds %s: if that is meant, remove the annotation %s.", p.Assignment.Pool, s.Report.Pool, specs.AnnotationPool))}
	}
	return []Action{RecordPool{p.become(p.Assignment.OnPool(s.Report.Pool))}}
}

func (v *view) grow(p PVC) []Action {
	want := v.Config.PVCPerNode.PVSize
	switch {
	case p.Requested < want.Bytes() && !p.Deleting:
		return []Action{GrowPVC{p.ref(), want.Bytes()}}
	case p.Requested > want.Bytes() && p.Capacity > 0 && p.Capacity < p.Requested:
		return []Action{p.warn("AsksForMore", fmt.Sprintf("It asks for %d bytes and has %d, while pvcPerNode.pvSizePerNode is %s: it may grow yet. Ask for less of it, if it is not to: from version 1.34 on Kubernetes allows what is more than it has.", p.Requested, p.Capacity, want))}
	}
	return nil
}

func (p PVC) deletingWarning() Action {
	return p.warn("BeingDeleted", fmt.Sprintf("Somebody deleted it. Its pool goes with its last pod: save its dots. Annotate it with %s=true and it is given up once nothing uses it.", specs.AnnotationDelete))
}

// unschedulable tells of a PVC that somebody deleted and that no server can be started for,
// as Kubernetes schedules no pod with it.
func (v *view) unschedulable(p PVC) Action {
	if !p.Assignment.Delete {
		return p.deletingWarning()
	}
	return p.warn("BeingDeleted", fmt.Sprintf("Somebody deleted it, and no server can be started any more that would export its pool. If there is no pool of dotmesh in zpool list on node %s, say so, and it goes: %s", p.Assignment.Node, v.instead(p)))
}

// orphans deletes pods whose PVC does not exist, or lacks its label, if their machine is
// dead, and tells of the holders among the others.
func (v *view) orphans() []Action {
	var actions []Action
	for _, s := range v.Servers {
		if _, found := v.pvc[s.PVC]; !found && s.PVC != "" && v.isDead(v.machine(s.Pod)) {
			actions = append(actions, DeleteServer{v.remove(s.Pod)})
		}
	}
	for _, h := range v.Holders {
		if _, found := v.pvc[h.PVC]; found {
			continue
		}
		if v.isDead(v.machine(h)) {
			actions = append(actions, DeleteHolder{v.remove(h)})
			continue
		}
		if h.PVC == "" {
			actions = append(actions, Warn{Object{"Pod", h.Name}, "NoPVC",
				fmt.Sprintf("It does not say which PVC it keeps, and pods may use the pool on that: annotate it with %s=, and the name of the PVC in its spec.", specs.AnnotationPVCName)})
			continue
		}
		actions = append(actions, Warn{Object{"Pod", h.Name}, "NoPVC",
			fmt.Sprintf("There is no PVC %s with the label %s=%s. Label it, if it exists; if not, delete this pod.", h.PVC, specs.LabelRole, specs.RolePool)})
	}
	return actions
}

// guards deletes PodDisruptionBudgets that nothing needs any more.
func (v *view) guards() []Action {
	needed := map[string]bool{}
	for _, h := range v.Holders {
		needed[h.Name] = true
	}
	for _, p := range v.PVCs {
		needed[specs.HolderName(p.Name, p.Assignment.Node)] = !p.Assignment.IsFree()
	}
	var actions []Action
	for _, name := range v.Guards {
		if !needed[name] {
			actions = append(actions, DeleteGuard{name})
		}
	}
	return actions
}

// labels takes the label off nodes that have no pool and get none.
func (v *view) labels() []Action {
	busy := map[string]bool{}
	for _, p := range v.PVCs {
		if p.Malformed != "" {
			return nil // it may be anywhere
		}
		busy[p.Assignment.Node] = true
	}
	for _, s := range v.Servers {
		busy[s.Node] = true
	}
	for _, h := range v.Holders {
		busy[h.Node] = true
	}
	var actions []Action
	for _, n := range v.Nodes {
		if n.isLabelled() && !busy[n.Name] && !v.keeps(n) && !n.OutOfService {
			actions = append(actions, UnlabelNode{n.Name, n.ResourceVersion})
		}
	}
	return actions
}
