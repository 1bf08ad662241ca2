package specs

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
)

// PVC is a free one, for a pool. It has no owner: nothing deletes it but a person,
// or the operator with a person's leave.
func PVC(cluster Cluster, c config.Config, name string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{
			Name:      name,
			Namespace: cluster.Namespace,
			Labels:    map[string]string{LabelAppName: AppName, LabelRole: RolePool},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			VolumeMode:       ptr(c.PVCPerNode.VolumeMode),
			StorageClassName: ptr(c.PVCPerNode.StorageClass.String()),
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{
				corev1.ResourceStorage: c.PVCPerNode.PVSize.Quantity(),
			}},
		},
	}
}
