//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// adminSecret is what an administrator makes by hand; no key is ever built in.
func adminSecret(key string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Secret
metadata: {name: dotmesh, namespace: %s}
stringData:
  dotmesh-api-key.txt: %q
  dotmesh-admin-password.txt: %q
`, system, key, "password-"+key)
}

// immediateClass makes volumes without waiting for a pod: for scenes that need
// none.
const immediateClass = `apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: e2e-immediate}
provisioner: dotmesh.csi
parameters: {dotmeshNamespace: admin}
volumeBindingMode: Immediate
allowVolumeExpansion: true
reclaimPolicy: Delete
`

// crossClass is immediateClass whose claims may use the dots of other Kubernetes
// namespaces.
var crossClass = strings.NewReplacer("e2e-immediate", "e2e-cross", "{dotmeshNamespace: admin}", `{dotmeshNamespace: admin, crossNamespace: "true"}`).Replace(immediateClass)

// elsewhere is a node that nobody runs, with our driver on it as a kubelet would
// register it, and a request to attach a volume there.
func elsewhere(volume string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Node
metadata: {name: elsewhere}
spec: {unschedulable: true}
---
apiVersion: storage.k8s.io/v1
kind: CSINode
metadata: {name: elsewhere}
spec:
  drivers: [{name: dotmesh.csi, nodeID: elsewhere, topologyKeys: [topology.dotmesh.csi/node]}]
---
apiVersion: storage.k8s.io/v1
kind: VolumeAttachment
metadata: {name: e2e-elsewhere}
spec:
  attacher: dotmesh.csi
  nodeName: elsewhere
  source: {persistentVolumeName: %s}
`, volume)
}

// claim is a PersistentVolumeClaim.
type claim struct {
	name string
	size string // default 64Mi
	// class defaults to dotmesh; mode to ReadWriteOnce.
	class, mode string
	// dot and subdot are annotations when they are not empty.
	dot, subdot string
	annotations map[string]string
	// snapshot, or claim, to begin with.
	fromSnapshot, fromClaim string
	volume                  string // PersistentVolume to take
	block                   bool
}

func (c claim) String() string {
	annotations := maps.Clone(c.annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	if c.dot != "" {
		annotations["dotmeshNamespace"], annotations["dotmeshName"] = "admin", c.dot
	}
	if c.subdot != "" {
		annotations["dotmeshSubdot"] = c.subdot
	}
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: %s\n  annotations:\n", c.name)
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		fmt.Fprintf(&b, "    %s: %q\n", key, annotations[key])
	}
	fmt.Fprintf(&b, "spec:\n  storageClassName: %s\n  accessModes: [%s]\n  resources: {requests: {storage: %s}}\n",
		or(c.class, "dotmesh"), or(c.mode, "ReadWriteOnce"), or(c.size, "64Mi"))
	if c.block {
		b.WriteString("  volumeMode: Block\n")
	}
	switch {
	case c.fromSnapshot != "":
		fmt.Fprintf(&b, "  dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: %s}\n", c.fromSnapshot)
	case c.fromClaim != "":
		fmt.Fprintf(&b, "  dataSource: {kind: PersistentVolumeClaim, name: %s}\n", c.fromClaim)
	}
	if c.volume != "" {
		fmt.Fprintf(&b, "  volumeName: %s\n", c.volume)
	}
	return b.String()
}

// pod sleeps, with each claim mounted at /<claim>.
type pod struct {
	name   string
	claims []string
	uid    int // also the fsGroup; 0 is root
	// readOnly claims are published read-only.
	readOnly []string
}

func (p pod) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  terminationGracePeriodSeconds: 1\n  enableServiceLinks: false\n  automountServiceAccountToken: false\n", p.name)
	if p.uid != 0 {
		fmt.Fprintf(&b, "  securityContext: {runAsUser: %d, runAsGroup: %d, fsGroup: %d}\n", p.uid, p.uid, p.uid)
	}
	fmt.Fprintf(&b, "  containers:\n  - name: main\n    image: %s\n    command: [sleep, \"1000000\"]\n    volumeMounts:\n", podImage)
	for _, name := range p.claims {
		fmt.Fprintf(&b, "    - {name: %s, mountPath: /%s}\n", name, name)
	}
	b.WriteString("  volumes:\n")
	for _, name := range p.claims {
		fmt.Fprintf(&b, "  - name: %s\n    persistentVolumeClaim: {claimName: %s, readOnly: %t}\n", name, name, slices.Contains(p.readOnly, name))
	}
	return b.String()
}

// snapshot is a VolumeSnapshot of a claim, or of a content written by hand.
type snapshot struct{ name, claim, content, message string }

func (s snapshot) String() string {
	source := "persistentVolumeClaimName: " + s.claim
	if s.content != "" {
		source = "volumeSnapshotContentName: " + s.content
	}
	return fmt.Sprintf(`apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata:
  name: %s
  annotations: {dotmesh.csi/message: %q}
spec:
  volumeSnapshotClassName: dotmesh
  source: {%s}
`, s.name, s.message, source)
}

// handWrittenContent is a VolumeSnapshotContent for a commit that is there.
func handWrittenContent(name, handle, namespace, snapshot string) string {
	return fmt.Sprintf(`apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotContent
metadata: {name: %s}
spec:
  deletionPolicy: Retain
  driver: dotmesh.csi
  volumeSnapshotClassName: dotmesh
  source: {snapshotHandle: %q}
  volumeSnapshotRef: {name: %s, namespace: %s}
`, name, handle, snapshot, namespace)
}

// handWrittenVolume is a PersistentVolume for a dot that is there.
func handWrittenVolume(name, handle string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: PersistentVolume
metadata: {name: %s}
spec:
  storageClassName: dotmesh
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  capacity: {storage: 64Mi}
  csi: {driver: dotmesh.csi, volumeHandle: %q}
`, name, handle)
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// on puts a pod on a node.
func on(node string, object fmt.Stringer) fmt.Stringer {
	return stringer(strings.Replace(object.String(), "spec:\n", "spec:\n  nodeSelector: {kubernetes.io/hostname: "+node+"}\n", 1))
}

type stringer string

func (s stringer) String() string { return string(s) }
