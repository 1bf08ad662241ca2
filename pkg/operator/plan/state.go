package plan

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// State is everything that was observed, at one time. The order of its lists means
// nothing. Every server has to have been asked before the first Next: as long as it is not
// known which pools are idle, none is given away, and nodes get new PVCs instead.
type State struct {
	Now     time.Time
	Config  config.Config
	Cluster specs.Cluster

	Nodes []Node
	// PVCs are those with the label specs.LabelRole=specs.RolePool.
	PVCs    []PVC
	Servers []Server
	Holders []Pod
	// Guards are the names of the holders' PodDisruptionBudgets.
	Guards []string
	// Attachments are all VolumeAttachments of the PVCs' volumes, also of those
	// that are being attached or detached.
	Attachments []Attachment
	// DotsAttached are the nodes that volumes of dotmesh are attached to.
	DotsAttached map[string]bool
	// Missing are nodes that are not there, and since when: what MissingSince gave.
	Missing map[string]time.Time
}

// Node is a node of the cluster, chosen by the selector or not.
type Node struct {
	Name string
	// Machine is what kubelet told of it, and the Node's UID.
	specs.Machine
	ResourceVersion string
	Created         time.Time
	Labels          map[string]string
	Cordoned        bool
	Ready           bool
	// ReadySince is when Ready last changed.
	ReadySince time.Time
	Taints     []corev1.Taint
	// OutOfService says that the node has the taint of this name: a person, or the
	// cloud, states that the machine is off.
	OutOfService bool
	Deleting     bool
}

// isLabelled tells whether the node has the label that the node service follows.
func (n Node) isLabelled() bool { return n.Labels[specs.LabelServer] == specs.True }

func (n Node) zone() string { return n.Labels[corev1.LabelTopologyZone] }

// PVC is a PersistentVolumeClaim for a pool.
type PVC struct {
	Name            string
	UID             types.UID
	ResourceVersion string
	Created         time.Time
	Deleting        bool
	// Assignment is what the annotations say. Where they say nothing that makes
	// sense, Malformed tells why, and the PVC is left alone.
	Assignment specs.Assignment
	Malformed  string

	VolumeMode corev1.PersistentVolumeMode
	// Requested and Capacity are in bytes; Capacity is 0 until it is bound.
	Requested, Capacity int64
	// Volume is the name of the PersistentVolume, "" until it is bound.
	Volume string
	// Reach are the nodes that can have the volume; all, until it is bound.
	Reach specs.Reach
	// Lost is the phase of that name: the PersistentVolume is gone.
	Lost bool
}

// Pod is a server or a holder.
type Pod struct {
	Name            string
	UID             types.UID
	ResourceVersion string
	// Node and PVC are what it was made for, from its annotations; PVC is "" in the
	// storage mode local, and Generation 0.
	Node, PVC  string
	Generation uint64
	// Spec is the annotation specs.AnnotationSpec.
	Spec     string
	Created  time.Time
	Deleting bool
	// GoneBy is when it was to be gone, if it is being deleted.
	GoneBy time.Time
	// Finalizers keep it when nothing of it runs any more.
	Finalizers []string
	Phase      corev1.PodPhase
	Ready      bool
	// ReadySince is when Ready last changed; zero if it never did.
	ReadySince time.Time
	// WasReady says that it has been ready at some time.
	WasReady bool
	// CannotPull says that a container waits for its image in vain
	// (ErrImagePull, ImagePullBackOff, InvalidImageName …).
	CannotPull bool
}

// hasEnded tells whether its containers will not run again.
func (p Pod) hasEnded() bool { return p.Phase == corev1.PodFailed || p.Phase == corev1.PodSucceeded }

func (p Pod) isRunning() bool { return p.Phase == corev1.PodRunning && !p.Deleting }

func (p Pod) ref() PodRef { return PodRef{Name: p.Name, UID: p.UID} }

// asSeen is a ref that holds only until something is written to the pod: for a deletion
// that would be wrong if the pod has begun to run meanwhile.
func (p Pod) asSeen() PodRef {
	return PodRef{Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion}
}

// Server is a server pod and what it told of itself.
type Server struct {
	Pod
	// Report is the last answer of this very pod; nil while there is none.
	Report *Report
	// IdleSince is since when each of its reports, without interruption, has said that
	// nothing uses the pool; zero while it is used, or that is not known. An operator that
	// has just started counts from the first report that it gets, which only delays.
	IdleSince time.Time
}

// isReleased tells whether it has exported the pool and idles.
func (s Server) isReleased() bool {
	return s.Report != nil && s.Report.Released && s.Report.Generation == s.Generation
}

// serves tells whether it has its pool imported, as far as it told.
func (s Server) serves() bool {
	return s.Report != nil && (s.Report.Pool != "" || s.Report.Imported) && !s.Report.Released
}

// isWell tells whether it serves a pool that nothing is wrong with.
func (s Server) isWell() bool {
	return s.Ready && !s.Deleting && s.Report != nil && s.Report.Health == HealthOnline
}

// isIdle tells whether nothing uses the pool, for however short a time.
func (s Server) isIdle() bool { return s.Report != nil && !s.Report.InUse && !s.IdleSince.IsZero() }

// Report is what a server answers to GetStatus.
type Report struct {
	At time.Time
	// Node and Claim, a PVC's UID, are whom the server serves.
	Node, Claim string
	// Pool is the GUID of its root dataset, "" until it is known.
	Pool string
	// Imported says of a server that starts that the pool it is to serve is imported.
	Imported bool
	Health   string // HealthOnline, or what is wrong
	// Released says that the pool was exported, by this server or the one before it in
	// the pod, and that the server does nothing more until it is killed.
	Released   bool
	Generation uint64
	InUse      bool
	// Users are some of who uses the pool: pod, volume or process.
	Users []string
	// WantedPools are pools that attaches on this node wait for and that no server serves.
	// An attach to a pool that is served counts as a use of that pool.
	WantedPools []string
	Version     string
}

// HealthOnline is the health of a pool with which all is well.
const HealthOnline = "ONLINE"

// Attachment is a VolumeAttachment.
type Attachment struct {
	Name, Volume, Node string
	Created            time.Time
}

// Machine is one machine among those that have had the same node name, one after another.
type Machine struct {
	Node          string
	specs.Machine // without a UID: any machine of the name
}

// IsDead tells whether the machine is off for certain. n is the node that has its name now:
// either somebody says that n is out of service, or n is another machine. A machine that
// only registers anew makes a node of another UID too, but of the same boot; and while n has
// not told its boot it may be this machine.
func (m Machine) IsDead(n Node) bool {
	return n.OutOfService || m.UID != "" && m.UID != n.UID && n.Boot != "" && n.Boot != m.Boot
}
