package specs

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
)

const nodeHealthPort = 9809

// NodeDaemonSet is the CSI node service, which registers itself with kubelet. It
// runs where pools are, so that a node has it until its pods are unmounted.
func NodeDaemonSet(cluster Cluster, c config.Config) *appsv1.DaemonSet {
	labels := ComponentLabels(ComponentNode)
	set := &appsv1.DaemonSet{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "DaemonSet"},
		ObjectMeta: metav1.ObjectMeta{
			Name: NodeDaemonSetName, Namespace: cluster.Namespace,
			Labels: labels, Annotations: map[string]string{},
		},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{
				Type:          appsv1.RollingUpdateDaemonSetStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: ptr(intstr.FromInt32(1))},
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       nodeSpec(cluster, c.KubeletDir.String()),
			},
		},
	}
	set.Annotations[AnnotationSpec] = hash(set.Spec)
	return set
}

func nodeSpec(cluster Cluster, kubeletDir string) corev1.PodSpec {
	return corev1.PodSpec{
		ServiceAccountName:           ServiceAccount,
		AutomountServiceAccountToken: ptr(false),
		EnableServiceLinks:           ptr(false),
		PriorityClassName:            "system-node-critical",
		NodeSelector:                 map[string]string{LabelServer: True, corev1.LabelOSStable: "linux"},
		Tolerations:                  podTolerations(),
		Containers: []corev1.Container{{
			Name:            ComponentNode,
			Image:           cluster.Image,
			ImagePullPolicy: cluster.ImagePullPolicy,
			Command:         []string{"dotmesh", "node"},
			Args: []string{
				"--node-name=$(NODE_NAME)",
				"--endpoint=unix://" + kubeletDir + "/plugins/dotmesh.csi/csi.sock",
				"--registration-dir=" + kubeletDir + "/plugins_registry",
				"--settings-dir=" + SettingsDir,
				"--run-dir=" + runDir,
				"--health-listen=:" + strconv.Itoa(nodeHealthPort),
				"--zfs-host-prefix=/host",
			},
			Env:            []corev1.EnvVar{FieldEnv("NODE_NAME", "spec.nodeName")},
			Ports:          []corev1.ContainerPort{{Name: "health", ContainerPort: nodeHealthPort, Protocol: corev1.ProtocolTCP}},
			StartupProbe:   probe("/healthz", 2, 5, 300),
			LivenessProbe:  probe("/healthz", 20, 10, 5), // of this process alone
			ReadinessProbe: probe("/readyz", 10, 10, 3),
			Resources:      Requests("20m", "48Mi"),
			SecurityContext: &corev1.SecurityContext{
				Privileged:             ptr(true), // mounts, seen by kubelet
				ReadOnlyRootFilesystem: ptr(true),
			},
			VolumeMounts: []corev1.VolumeMount{
				{Name: "kubelet", MountPath: kubeletDir, MountPropagation: ptr(corev1.MountPropagationBidirectional)},
				{Name: "run", MountPath: runDir},
				{Name: "dev", MountPath: "/dev"},
				{Name: "host", MountPath: "/host", ReadOnly: true, MountPropagation: ptr(corev1.MountPropagationHostToContainer)},
				{Name: "tmp", MountPath: "/tmp"},
				SettingsMount(),
			},
		}},
		Volumes: []corev1.Volume{
			hostDir("kubelet", kubeletDir, corev1.HostPathDirectory),
			hostDir("run", runDir, corev1.HostPathDirectoryOrCreate),
			hostDir("dev", "/dev", corev1.HostPathDirectory),
			hostDir("host", "/", corev1.HostPathDirectory),
			{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			SettingsVolume(),
		},
	}
}
