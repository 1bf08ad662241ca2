package specs

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Cluster is what all our objects of a cluster have in common, beside the
// configuration.
type Cluster struct {
	Namespace string
	// Image is the operator's own.
	Image           string
	ImagePullPolicy corev1.PullPolicy
	// Owner is the UID of the ConfigMap SettingsName.
	Owner types.UID
	// Etcd are the URLs of etcd.
	Etcd []string
}

// Server is one server pod: the server of one pool on one node.
type Server struct {
	Node string
	Zone string // "" where nodes have none
	// Claim is the PVC that the pool lies on; nil in the storage mode local.
	Claim *Claim
}

// Claim is a PVC in one generation of its assignment.
type Claim struct {
	PVC        string
	UID        types.UID
	VolumeMode corev1.PersistentVolumeMode
	PoolName   string
	Generation uint64
	// TakeOver allows the server to import a pool that nobody exported.
	TakeOver bool
}

// Holder is one holder pod: it keeps a PVC's device on a node.
type Holder struct {
	Node  string
	Claim Claim
}

// Name is the pod's name.
func (s Server) Name() string {
	if s.Claim == nil {
		return LocalServerName(s.Node)
	}
	return ServerName(s.Claim.PVC, s.Node)
}

// Name is the pod's name, and its PodDisruptionBudget's.
func (h Holder) Name() string { return HolderName(h.Claim.PVC, h.Node) }
