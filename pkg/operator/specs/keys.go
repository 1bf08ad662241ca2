package specs

// Labels and annotations that more than one object has, or that people select by.
const (
	LabelAppName   = "app.kubernetes.io/name"
	LabelComponent = "app.kubernetes.io/component"
	AppName        = "dotmesh"

	// LabelManagedBy tells what the operator made from what is a person's, and what an
	// uninstallation has to delete.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	ManagedBy      = "dotmesh-operator"

	ComponentServer = "server"
	ComponentHolder = "holder"
	ComponentNode   = "node"

	// LabelServer, on a node, says that a pool is, or may be, imported there.
	LabelServer = "dotmesh.io/server"
	True        = "true"

	// LabelRole, on a PVC, says that it is one of ours.
	LabelRole = "dotmesh.io/role"
	RolePool  = "pool"
)

// Labels of server and holder pods, to select by and to look at. The values are
// shortened as names are; the exact ones are annotations.
const (
	LabelNode = "dotmesh.io/node"
	LabelPVC  = "dotmesh.io/pvc"

	// These three are written when the server has told them.
	LabelPool    = "dotmesh.io/pool"
	LabelHealth  = "dotmesh.io/health"
	LabelVersion = "dotmesh.io/version"
)

// Annotations of server and holder pods.
const (
	AnnotationNodeName   = "dotmesh.io/node-name" // of etcd's volumes too
	AnnotationPVCName    = "dotmesh.io/pvc-name"
	AnnotationPVCUID     = "dotmesh.io/pvc-uid"
	AnnotationGeneration = "dotmesh.io/generation" // of PVCs too
	// AnnotationSpec is the hash of what was built: what the API server and others add to an
	// object does not count. etcd's objects have it too.
	AnnotationSpec = "dotmesh.io/spec"
)

// Annotations of PVCs; see Assignment.
const (
	AnnotationNode       = "dotmesh.io/node"
	AnnotationNodeUID    = "dotmesh.io/node-uid" // which of its name; of etcd's volumes too
	AnnotationNodeBoot   = "dotmesh.io/node-boot"
	AnnotationNodeSystem = "dotmesh.io/node-system"
	AnnotationReleased   = "dotmesh.io/released"
	AnnotationPool       = "dotmesh.io/pool"
	AnnotationPoolName   = "dotmesh.io/pool-name"
	AnnotationFreed      = "dotmesh.io/freed"
	// AnnotationDelete is a person's: the PVC may be deleted once it is free.
	AnnotationDelete = "dotmesh.io/delete"
	// AnnotationGivenUp is a person's: no pool of the PVC is imported on its node.
	AnnotationGivenUp = "dotmesh.io/given-up"
)

// DriverName is the CSI driver's, and the provisioner of its StorageClasses: volumes of
// these are made of what lies on the volumes that the operator asks for.
const DriverName = "dotmesh.csi"

// Names of objects that there is one of.
const (
	ConfigurationName = "configuration"    // ConfigMap: the user's configuration
	SettingsName      = "dotmesh-settings" // ConfigMap: the last good one
	ServiceAccount    = "dotmesh"
	NodeDaemonSetName = "dotmesh-node"
)
