package specs

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/test/golden"
)

var testCluster = Cluster{
	Namespace:       "dotmesh",
	Image:           "dotmesh.io/dotmesh:1",
	ImagePullPolicy: corev1.PullIfNotPresent,
	Owner:           "11111111-2222-3333-4444-555555555555",
	Etcd:            []string{"https://dotmesh-etcd-cluster-client.dotmesh.svc:2379"},
}

func testClaim(mode corev1.PersistentVolumeMode) *Claim {
	return &Claim{
		PVC: "pvc-0123456789abcdef", UID: "1b4e28ba-2fa1-11d2-883f-0016d3cca427", VolumeMode: mode,
		PoolName: "pool-1b4e28ba", Generation: 3,
	}
}

func parse(t *testing.T, data map[string]string) config.Config {
	t.Helper()
	c, _, err := config.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What is made is what testdata shows.
func TestGolden(t *testing.T) {
	c := parse(t, nil)
	block, files := testClaim(corev1.PersistentVolumeBlock), testClaim(corev1.PersistentVolumeFilesystem)
	takeOver := *block
	takeOver.TakeOver = true
	golden.Check(t, map[string]any{
		"server-local":      ServerPod(testCluster, c, Server{Node: "node-1", Zone: "eu-1a"}),
		"server-block":      ServerPod(testCluster, c, Server{Node: "node-1", Zone: "eu-1a", Claim: block}),
		"server-take-over":  ServerPod(testCluster, c, Server{Node: "node-1", Claim: &takeOver}),
		"server-filesystem": ServerPod(testCluster, c, Server{Node: "node-1", Claim: files}),
		"holder-block":      HolderPod(testCluster, Holder{Node: "node-1", Claim: *block}),
		"holder-filesystem": HolderPod(testCluster, Holder{Node: "node-1", Claim: *files}),
		"budget":            HolderBudget(testCluster, Holder{Node: "node-1", Claim: *block}),
		"pvc":               PVC(testCluster, c, "pvc-0123456789abcdef"),
		"pvc-filesystem":    PVC(testCluster, parse(t, map[string]string{"pvcPerNode.volumeMode": "Filesystem", "pvcPerNode.storageClass": "fast", "pvcPerNode.pvSizePerNode": "1T"}), "pvc-0123456789abcdef"),
		"node":              NodeDaemonSet(testCluster, parse(t, map[string]string{"kubeletDir": "/opt/kubelet"})),
	})
}
