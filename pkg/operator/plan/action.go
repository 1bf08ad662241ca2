package plan

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// Action is one small change of the cluster. Doing one twice does no harm. Nor does doing
// one after the cluster has changed: it fails with a conflict, or finds that what it was to
// make is there or that what it was to delete is gone, and Next decides anew.
type Action interface {
	fmt.Stringer
	action()
}

// The actions. Those on pods name them by UID, so that a successor of the same name
// is left alone.
type (
	// LabelNode puts specs.LabelServer on a node.
	LabelNode struct{ Node string }

	// UnlabelNode takes that label off, if the node still has this ResourceVersion. A node
	// that the selector chooses again has changed, and so keeps the label.
	UnlabelNode struct{ Node, ResourceVersion string }

	// CreatePVC makes a PVC that is assigned to no node yet.
	CreatePVC struct{ Name string }

	// AssignPVC gives a free PVC to a node.
	AssignPVC struct{ Change }

	// RecordPool writes down which pool is on a PVC.
	RecordPool struct{ Change }

	// RecordNode writes down which machine a PVC is assigned to. Another one may get the
	// same node name later, so that this is told by UID and boot. It is done only if the
	// API server, asked past any cache, shows a node of this UID and boot.
	RecordNode struct{ Change }

	// MarkReleased writes down that a PVC's pool was exported.
	MarkReleased struct{ Change }

	// MarkImported removes the annotations that say that a PVC's pool is not imported.
	MarkImported struct{ Change }

	// FreePVC takes a PVC from its node.
	FreePVC struct {
		Change
		// Dead is the machine that the PVC was on, if that did not export the pool and was
		// taken for dead. The PVC is then freed only if the API server, asked past any
		// cache just before, shows it dead still. Zero otherwise.
		Dead Machine
	}

	// DeletePVC deletes a free one that a person gave up.
	DeletePVC struct{ PVCRef }

	// GrowPVC asks for more bytes.
	GrowPVC struct {
		PVCRef
		Bytes int64
	}

	// CreateGuard makes the PodDisruptionBudget of a holder that is to come.
	CreateGuard struct{ specs.Holder }

	// DeleteGuard deletes the PodDisruptionBudget of a holder that is gone, if the API
	// server, asked past any cache, shows no pod of the name.
	DeleteGuard struct{ Name string }

	// CreateHolder makes a holder pod, if the API server, asked past any cache, shows that
	// the PVC is still assigned to this node in this generation.
	CreateHolder struct{ specs.Holder }

	// DeleteHolder deletes one.
	DeleteHolder struct{ PodRef }

	// CreateServer makes a server pod; one with a PVC on the same condition as a holder.
	CreateServer struct{ specs.Server }

	// DeleteServer deletes one.
	DeleteServer struct{ PodRef }

	// Release asks a server to export its pool. It may refuse, and says who uses it.
	Release struct {
		PodRef
		Generation uint64
	}

	// Warn makes an Event that a person can act on, once for each message.
	Warn struct {
		Object  Object
		Reason  string // CamelCase, as Events have it
		Message string
	}
)

// PVCRef is a PVC as it was seen: the action fails when it has changed since.
type PVCRef struct {
	Name            string
	UID             types.UID
	ResourceVersion string
}

// Change writes an assignment into a PVC's annotations, in one compare-and-set.
type Change struct {
	PVCRef
	To specs.Assignment
}

// PodRef is one pod, and no other of its name.
type PodRef struct {
	Name string
	UID  types.UID
	// Dead is the machine that it ran on, if that was taken for dead. The pod is then
	// deleted without waiting for its kubelet, if the API server, asked past any cache just
	// before, shows the machine dead still. Zero otherwise.
	Dead Machine
	// ResourceVersion has the pod deleted only if nothing was written to it since it was
	// seen; "" has it deleted in any case.
	ResourceVersion string
}

// Force tells whether the pod is deleted without waiting for its kubelet, which is gone.
func (p PodRef) Force() bool { return p.Dead != Machine{} }

// Object is what an Event is about.
type Object struct {
	Kind, Name string // Node, PersistentVolumeClaim or Pod
}

func (LabelNode) action()    {}
func (UnlabelNode) action()  {}
func (CreatePVC) action()    {}
func (AssignPVC) action()    {}
func (RecordPool) action()   {}
func (RecordNode) action()   {}
func (MarkReleased) action() {}
func (MarkImported) action() {}
func (FreePVC) action()      {}
func (DeletePVC) action()    {}
func (GrowPVC) action()      {}
func (CreateGuard) action()  {}
func (DeleteGuard) action()  {}
func (CreateHolder) action() {}
func (DeleteHolder) action() {}
func (CreateServer) action() {}
func (DeleteServer) action() {}
func (Release) action()      {}
func (Warn) action()         {}

// String tells of it in a log.
func (a LabelNode) String() string   { return "label node " + a.Node }
func (a UnlabelNode) String() string { return "take the label off node " + a.Node }
func (a CreatePVC) String() string   { return "create PVC " + a.Name }
func (a AssignPVC) String() string {
	return fmt.Sprintf("assign PVC %s to node %s, generation %d", a.Name, a.To.Node, a.To.Generation)
}
func (a RecordPool) String() string { return fmt.Sprintf("PVC %s holds pool %s", a.Name, a.To.Pool) }
func (a RecordNode) String() string {
	return fmt.Sprintf("PVC %s is assigned to node %s of UID %s and boot %s", a.Name, a.To.Node, a.To.Machine.UID, a.To.Machine.Boot)
}
func (a MarkReleased) String() string {
	return fmt.Sprintf("PVC %s was released by generation %d", a.Name, a.To.Released)
}
func (a MarkImported) String() string { return fmt.Sprintf("PVC %s has its pool imported", a.Name) }
func (a FreePVC) String() string      { return "free PVC " + a.Name }
func (a DeletePVC) String() string    { return "delete PVC " + a.Name }
func (a GrowPVC) String() string      { return fmt.Sprintf("grow PVC %s to %d bytes", a.Name, a.Bytes) }
func (a CreateGuard) String() string  { return "create PodDisruptionBudget " + a.Holder.Name() }
func (a DeleteGuard) String() string  { return "delete PodDisruptionBudget " + a.Name }
func (a CreateHolder) String() string { return "create holder " + a.Holder.Name() }
func (a DeleteHolder) String() string { return "delete holder " + a.PodRef.String() }
func (a CreateServer) String() string { return "create server " + a.Server.Name() }
func (a DeleteServer) String() string { return "delete server " + a.PodRef.String() }
func (a Release) String() string {
	return fmt.Sprintf("ask server %s to release generation %d", a.Name, a.Generation)
}
func (a Warn) String() string {
	return fmt.Sprintf("warn on %s %s: %s: %s", a.Object.Kind, a.Object.Name, a.Reason, a.Message)
}

// String tells of it in a log.
func (p PodRef) String() string {
	if p.Force() {
		return p.Name + " by force"
	}
	return p.Name
}
