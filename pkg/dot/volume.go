package dot

import "time"

// Volume is one PersistentVolume's claim on a subdot of a branch.
type Volume struct {
	ID      VolumeID
	CSIName string
	State   State
	Dot     ID
	Branch  BranchID
	Subdot  Subdot
	// SizeBytes is the PVC's size, kept as a quota on the subdot. 0 means no
	// limit of its own (a PersistentVolume written by hand).
	SizeBytes int64
	// KubernetesNamespace and PVCName are the claim's, "" when unknown.
	KubernetesNamespace string
	PVCName             string
	// ReadOnly volumes were asked for as ReadOnlyMany from a commit.
	ReadOnly bool
	// Source is the commit that the volume was made from, as it was asked for.
	Source *SnapshotHandle
	// SourceVolume is the volume that this one was cloned from.
	SourceVolume VolumeID
	// NewDot: this volume's creation made the dot.
	NewDot bool
	// Publications are the nodes that may mount the volume, by node name.
	Publications map[string]Publication
	Created      time.Time

	Unknown Unknown `json:"-"`
}

// Publication allows one node to mount a volume (ControllerPublishVolume).
type Publication struct {
	Node     string
	ReadOnly bool
	// Unconfirmed: withdrawn while the node's server could not be asked.
	Unconfirmed bool
	Since       time.Time
}

// Pool is a server's root dataset and what its server last said of it.
type Pool struct {
	ID PoolID
	// Name is the zpool's name, for people; never an identity.
	Name string
	// Node is the Kubernetes node (or host) that the server runs on.
	Node string
	// Generation counts the nodes that the pool's disk was given to, 0 for one that
	// stays with its node. Zone is the Node's.
	Generation uint64
	Zone       string
	// Address, host:port, is where other servers reach the API; "" if they cannot.
	Address    string
	SizeBytes  int64
	FreeBytes  int64
	Health     string
	ZFSVersion string
	// Incarnation is the registry's when its server last found it to know what is on
	// the pool.
	Incarnation uint64
	// PromisedFence is how long after the loss of its lease the server may
	// still write.
	PromisedFence time.Duration

	Unknown Unknown `json:"-"`
}
