package specs

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// nobody is who a holder runs as.
const nobody = 65532

// HolderPod keeps a PVC attached to a node for as long as it is there, however the
// server's pod ends. It does nothing, and may do nothing.
func HolderPod(cluster Cluster, h Holder) *corev1.Pod {
	pod := newPod(cluster, h.Name(), ComponentHolder, h.Node, &h.Claim)
	pod.Spec = podSpec(h.Node)
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot:   ptr(true),
		RunAsUser:      ptr(int64(nobody)),
		RunAsGroup:     ptr(int64(nobody)),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	// The PVC is kept while the settings are missing, also through a reboot.
	pod.Spec.Volumes = []corev1.Volume{claimVolume(h.Claim.PVC), OptionalSettingsVolume()}
	container := corev1.Container{
		Name:            ComponentHolder,
		Image:           cluster.Image,
		ImagePullPolicy: cluster.ImagePullPolicy,
		Command:         []string{"dotmesh", "holder"},
		Args:            []string{"--settings-dir=" + SettingsDir},
		Resources:       Requests("1m", "16Mi"),
		SecurityContext: Locked(),
		VolumeMounts:    []corev1.VolumeMount{SettingsMount()},
	}
	if h.Claim.VolumeMode == corev1.PersistentVolumeFilesystem {
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: pvcVolume, MountPath: backendDir, ReadOnly: true})
	} else {
		container.VolumeDevices = []corev1.VolumeDevice{{Name: pvcVolume, DevicePath: "/dev/" + poolDevice}}
	}
	pod.Spec.Containers = []corev1.Container{container}
	pod.Annotations[AnnotationSpec] = holderHash(pod.Spec)
	return pod
}

// HolderHash changes with what a holder that never ran is replaced for. One that
// runs is left alone: nothing may take the PVC from its node.
func HolderHash(cluster Cluster, mode corev1.PersistentVolumeMode) string {
	return HolderPod(cluster, Holder{Claim: Claim{VolumeMode: mode}}).Annotations[AnnotationSpec]
}

func holderHash(spec corev1.PodSpec) string {
	alike := spec.DeepCopy()
	alike.Affinity, alike.Volumes = nil, nil
	return hash(alike)
}

// HolderBudget has evictions wait until the operator took the holder away.
func HolderBudget(cluster Cluster, h Holder) *policyv1.PodDisruptionBudget {
	selector := ComponentLabels(ComponentHolder)
	selector[LabelNode], selector[LabelPVC] = LabelValue(h.Node), LabelValue(h.Claim.PVC)
	labels := maps.Clone(selector)
	labels[LabelManagedBy] = ManagedBy
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
		ObjectMeta: metav1.ObjectMeta{Name: h.Name(), Namespace: cluster.Namespace, Labels: labels},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr(intstr.FromInt32(1)),
			Selector:     &metav1.LabelSelector{MatchLabels: selector},
		},
	}
}
