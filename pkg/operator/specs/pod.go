package specs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// newPod has everything of a pod of ours but its spec. It is owned, because
// `kubectl drain` stops at a pod that nothing would make again.
func newPod(cluster Cluster, name, component, node string, claim *Claim) *corev1.Pod {
	labels := ComponentLabels(component)
	labels[LabelNode] = LabelValue(node)
	annotations := map[string]string{AnnotationNodeName: node}
	if claim != nil {
		labels[LabelPVC] = LabelValue(claim.PVC)
		annotations[AnnotationPVCName] = claim.PVC
		annotations[AnnotationPVCUID] = string(claim.UID)
		annotations[AnnotationGeneration] = strconv.FormatUint(claim.Generation, 10)
	}
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Namespace:   cluster.Namespace,
			Labels:      labels,
			Annotations: annotations,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "ConfigMap", Name: SettingsName, UID: cluster.Owner,
				Controller: ptr(true), BlockOwnerDeletion: ptr(false),
			}},
		},
	}
}

// ComponentLabels are what the objects of a component are selected by.
func ComponentLabels(component string) map[string]string {
	return map[string]string{LabelAppName: AppName, LabelComponent: component}
}

// podSpec is what server and holder have in common. They go through the scheduler,
// so that a volume that waits for its first consumer is bound.
func podSpec(node string) corev1.PodSpec {
	return corev1.PodSpec{
		ServiceAccountName:            ServiceAccount,
		AutomountServiceAccountToken:  ptr(false),
		EnableServiceLinks:            ptr(false),
		PriorityClassName:             "system-node-critical",
		RestartPolicy:                 corev1.RestartPolicyAlways,
		TerminationGracePeriodSeconds: ptr(int64(30)),
		Tolerations:                   podTolerations(),
		Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
			}}},
		}},
	}
}

// podTolerations are what our pods on the nodes bear. They are bound to their node by
// name or by label, so that what keeps others from being scheduled there is not for
// them: a server that was evicted must come back to export its pool.
func podTolerations() []corev1.Toleration {
	return append(Tolerations(), corev1.Toleration{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule})
}

// Tolerations are of the taints with which a node is one for dotmesh: in trouble it
// keeps its pool, but out of service it must let go of it.
func Tolerations() []corev1.Toleration {
	var all []corev1.Toleration
	for _, key := range []string{
		corev1.TaintNodeNotReady,
		corev1.TaintNodeUnreachable,
		corev1.TaintNodeUnschedulable,
		corev1.TaintNodeMemoryPressure,
		corev1.TaintNodeDiskPressure,
		corev1.TaintNodePIDPressure,
		corev1.TaintNodeNetworkUnavailable,
	} {
		all = append(all, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists})
	}
	return all
}

// IsOutOfService tells whether somebody, or the cloud, states that a node's machine is
// off.
func IsOutOfService(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
}

// SaysOff is how a person says that a node's machine is off.
func SaysOff(node string) string {
	return fmt.Sprintf("kubectl taint node %s %s=nodeshutdown:NoExecute", node, corev1.TaintNodeOutOfService)
}

func hostDir(name, path string, kind corev1.HostPathType) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path, Type: &kind}}}
}

// SecretVolume has the Secret in files that only their owner, root, reads.
func SecretVolume(name, secret string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret, DefaultMode: ptr(int32(0o400))}}}
}

// settingsVolume is what SettingsVolume is called in a pod.
const settingsVolume = "settings"

// SettingsVolume has a file for each of the operator's settings, which everybody in the
// pod may read.
func SettingsVolume() corev1.Volume {
	return corev1.Volume{Name: settingsVolume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: SettingsName},
		DefaultMode:          ptr(int32(0o444)),
	}}}
}

// OptionalSettingsVolume is for pods that run also while the settings are missing.
func OptionalSettingsVolume() corev1.Volume {
	v := SettingsVolume()
	v.ConfigMap.Optional = ptr(true)
	return v
}

// SettingsMount is that of either.
func SettingsMount() corev1.VolumeMount {
	return corev1.VolumeMount{Name: settingsVolume, MountPath: SettingsDir, ReadOnly: true}
}

func claimVolume(pvc string) corev1.Volume {
	return corev1.Volume{Name: pvcVolume, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: pvc}}}
}

// FieldEnv is a variable with a field of its pod.
func FieldEnv(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}

// Requests are what a container is promised; nothing limits it.
func Requests(cpu, memory string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse(cpu),
		corev1.ResourceMemory: resource.MustParse(memory),
	}}
}

// Locked is that of a container that needs none of root's capabilities but these.
func Locked(but ...corev1.Capability) *corev1.SecurityContext {
	return &corev1.SecurityContext{
		ReadOnlyRootFilesystem:   ptr(true),
		AllowPrivilegeEscalation: ptr(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: but},
	}
}

// httpGet asks the health port, which nobody else can use up.
func httpGet(path string) corev1.ProbeHandler {
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("health")}}
}

// hash is that of a spec, as it was built.
func hash(spec any) string {
	sum := sha256.New()
	_ = json.NewEncoder(sum).Encode(spec) // Kubernetes' types always have a JSON form
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

func quantity(s string) *resource.Quantity {
	return ptr(resource.MustParse(s))
}

func ptr[T any](v T) *T { return &v }
