package plan

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// State is everything that was observed. The order of its lists means nothing.
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
}

// Node is a node of the cluster, chosen by the selector or not.
type Node struct {
	Name            string
	UID             types.UID
	ResourceVersion string
	Labels          map[string]string
	Cordoned        bool
	Ready           bool
	// OutOfService says that the node has the taint of this name: a person, or the
	// cloud, states that the machine is off.
	OutOfService bool
	Deleting     bool
}

// PVC is one of ours.
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
	// Zone is the PersistentVolume's label of the zone, "" without one.
	Zone string
	// Affinity is the PersistentVolume's required node affinity; nil: any node.
	Affinity *corev1.NodeSelector
	// Lost is the phase of that name: the PersistentVolume is gone.
	Lost bool
}

// Pod is a server or a holder.
type Pod struct {
	Name string
	UID  types.UID
	// Node and PVC are what it was made for, from its annotations; PVC is "" in the
	// storage mode local, and Generation 0.
	Node, PVC  string
	Generation uint64
	// Spec is the annotation specs.AnnotationSpec.
	Spec     string
	Created  time.Time
	Deleting bool
	Phase    corev1.PodPhase
	Ready    bool
	// WasReady says that it has been ready at some time.
	WasReady bool
	// CannotPull says that a container waits for its image in vain
	// (ErrImagePull, ImagePullBackOff, InvalidImageName …).
	CannotPull bool
}

// Server is a server pod and what it told of itself.
type Server struct {
	Pod
	// Report is the last answer of this very pod; nil while there is none.
	Report *Report
	// IdleSince is since when, without interruption, each of its reports said that
	// nothing uses the pool; zero while it is used or not known. An operator that
	// starts has seen nothing yet, which only delays.
	IdleSince time.Time
}

// Report is what a server answers to GetStatus.
type Report struct {
	At time.Time
	// Pool is the GUID of its root dataset, "" until it is known.
	Pool   string
	Health string // HealthOnline, or what is wrong
	// Released says that the pool was exported and the server idles until it is
	// killed.
	Released   bool
	Generation uint64
	InUse      bool
	// Users are some of who uses the pool: pod, volume or process.
	Users []string
	// WantedPools are those that attaches wait for and that no server serves.
	WantedPools []string
	Version     string
}

// HealthOnline is the health of a pool with which all is well.
const HealthOnline = "ONLINE"

// Attachment is a VolumeAttachment.
type Attachment struct {
	Volume, Node string
}
