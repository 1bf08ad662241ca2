package csi

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
