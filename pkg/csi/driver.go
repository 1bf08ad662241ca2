package csi

import (
	"regexp"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// DriverName is what StorageClasses, PersistentVolumes and the CSIDriver object
// call the driver.
const DriverName = "dotmesh.csi"

// Topology keys. A volume can be used wherever dotmesh of its cluster runs, so
// volumes answer with the cluster alone; the node says where a new dot would
// like to be placed.
const (
	TopologyNode    = "topology.dotmesh.csi/node"
	TopologyCluster = "topology.dotmesh.csi/cluster"
)

// PublishContextPool is the key under which ControllerPublishVolume tells the
// node service the id of the pool whose server prepares the volume.
const PublishContextPool = "pool"

// clusterGrammar is Kubernetes' of label values, because a topology segment
// becomes a label of the node.
var clusterGrammar = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// CheckClusterName refuses a name that cannot be a topology segment.
func CheckClusterName(name string) error {
	if !clusterGrammar.MatchString(name) {
		return dot.Invalid("cluster name %q is not valid: use 1 to 63 letters, digits, \".\", \"_\" or \"-\", with a letter or digit at both ends", name)
	}
	return nil
}

// CheckVolume refuses a missing volume id and, with CodeNotFound, one that no
// volume of ours can have.
func CheckVolume(id string) error {
	if id == "" {
		return dot.Invalid("the volume id is missing")
	}
	if _, err := dot.ParseVolumeHandle(id); err != nil {
		return dot.NotFound("the volume does not exist: %w", err)
	}
	return nil
}
