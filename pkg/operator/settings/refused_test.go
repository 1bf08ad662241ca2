//go:build apiserver

package settings_test

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// binaryData is where kubectl puts a file that is not UTF-8.
func binaryData(t *testing.T, s *site) {
	s.write(map[string]string{"poolName": "tank"})
	s.reconcile()
	user := s.user()
	user.Data, user.BinaryData = map[string]string{"replicas": "x"}, map[string][]byte{"poolName": {'t', 0xe4}}
	if err := s.client.Update(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	s.reconcile()
	if got := s.inForce()["poolName"]; got != "tank" {
		t.Errorf("poolName is %q, want the last good value", got)
	}
	s.wantEvent("ConfigurationRefused", "poolName: is in binaryData")
	s.wantStatus("refused, since ", "replicas: ", "poolName: is in binaryData")
}

// ownStorageClass is one of dotmesh's by another name than dotmesh.
func ownStorageClass(t *testing.T, s *site) {
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast-dots"}, Provisioner: specs.DriverName}
	if err := s.client.Create(t.Context(), class); err != nil {
		t.Fatal(err)
	}
	s.write(map[string]string{"storageMode": "pvcPerNode", "pvcPerNode.storageClass": "fast-dots"})
	s.reconcile()
	if got := s.inForce(); got != nil {
		t.Errorf("%v is in force", got)
	}
	s.wantEvent("ConfigurationRefused", "pvcPerNode.storageClass: \"fast-dots\" is of the provisioner dotmesh.csi")
	s.wantStatus("refused, since ", "fast-dots")
	s.write(map[string]string{"pvcPerNode.storageClass": "fast-dots"})
	s.reconcile()
	s.wantStatus("ok, since ")
}

// sizesGoBack: what no pool has reached was a typing error.
func sizesGoBack(t *testing.T, s *site) {
	try := func(key, to string, allowed bool) {
		t.Helper()
		s.write(map[string]string{key: to})
		s.reconcile()
		if got := len(s.settings.Refused()) == 0; got != allowed {
			t.Errorf("%s=%s: allowed is %v, want %v: %v", key, to, got, allowed, s.settings.Refused())
		}
	}
	pvc := s.makePVC()
	try("pvcPerNode.pvSizePerNode", "100T", true)
	try("pvcPerNode.pvSizePerNode", "9G", false)
	try("pvcPerNode.pvSizePerNode", "10G", true)
	s.resize(pvc, "20Gi")
	try("pvcPerNode.pvSizePerNode", "100T", true)
	try("pvcPerNode.pvSizePerNode", "10G", false)

	try("local.poolSizePerNode", "100T", false) // the other size would shrink
	s.write(map[string]string{"pvcPerNode.pvSizePerNode": "100T", "local.poolSizePerNode": "100T"})
	s.reconcile()
	local := func(to string, allowed bool) {
		t.Helper()
		s.write(map[string]string{"pvcPerNode.pvSizePerNode": "100T", "local.poolSizePerNode": to})
		s.reconcile()
		if got := len(s.settings.Refused()) == 0; got != allowed {
			t.Errorf("%s: allowed is %v, want %v: %v", to, got, allowed, s.settings.Refused())
		}
	}
	local("10G", false) // nobody was asked yet
	s.asked, s.largest = true, 10<<30-1<<20
	local("9G", false)
	local("10G", true)
}

// labelledNode: a node's label alone says that there may be a pool.
func labelledNode(t *testing.T, s *site) {
	good := map[string]string{"storageMode": "local", "poolName": "pool", "local.poolLocation": "/var/lib/dotmesh"}
	s.write(good)
	s.reconcile()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "labelled", Labels: map[string]string{specs.LabelServer: specs.True}}}
	if err := s.client.Create(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	for key, other := range map[string]string{"storageMode": "pvcPerNode", "poolName": "tank", "local.poolLocation": "/mnt"} {
		changed := maps.Clone(good)
		changed[key] = other
		s.write(changed)
		s.reconcile()
		if got := s.inForce()[key]; got != good[key] {
			t.Errorf("%s is %q while a node has a pool, want %q", key, got, good[key])
		}
		s.wantEvent("ConfigurationRefused", key+": cannot change")
	}
	if err := s.client.Delete(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	s.write(map[string]string{"poolName": "tank"})
	s.reconcile()
	if got := s.inForce()["poolName"]; got != "tank" {
		t.Errorf("poolName is %q without a pool, want tank", got)
	}
}

// pathsOfBefore: a directory that an earlier version took goes on to hold, and no other
// of its kind is taken.
func pathsOfBefore(t *testing.T, s *site) {
	s.write(map[string]string{"local.poolLocation": "/tmp/dotmesh"})
	s.reconcile()
	if got := s.inForce(); got != nil {
		t.Errorf("in a first configuration: %v is in force", got)
	}
	s.wantEvent("ConfigurationRefused", "local.poolLocation: ")

	s.write(nil)
	s.reconcile()
	pvc := s.makePVC()
	kept := s.kept()
	kept.Data["local.poolLocation"] = "/tmp/dotmesh"
	if err := s.client.Update(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.write(map[string]string{"local.poolLocation": "/tmp/dotmesh", "replicas": "3"})
	s.reconcile()
	if got := s.inForce(); got["local.poolLocation"] != "/tmp/dotmesh" || got["replicas"] != "3" {
		t.Errorf("%v is in force; refused: %v", got, s.settings.Refused())
	}
	s.wantEvent("ConfigurationWarning", "local.poolLocation: ")
	s.wantStatus("ok, since ", "warning: local.poolLocation: ", "It holds on")

	s.deletePVC(pvc)
	s.write(map[string]string{"local.poolLocation": "/tmp/other", "kubeletDir": "/run"})
	s.reconcile()
	if got := s.inForce(); got["local.poolLocation"] != "/tmp/dotmesh" || got["kubeletDir"] != "/var/lib/kubelet" {
		t.Errorf("%v is in force", got)
	}
	s.wantStatus("refused, since ", "local.poolLocation: \"/tmp/other\"", "kubeletDir: \"/run\"")
}
