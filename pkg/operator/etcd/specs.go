package etcd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/certs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

const (
	dataVolume = "data"
	mountPath  = "/var/lib/dotmesh/etcd"

	// memberAnnotation of a volume or claim is the member's id, in hex.
	memberAnnotation = "dotmesh.io/etcd-member"
	ordinalLabel     = "dotmesh.io/etcd-ordinal"

	// Keys of the ConfigMap: etcd reads its flags from such variables too.
	clusterKey = "ETCD_INITIAL_CLUSTER"
	stateKey   = "ETCD_INITIAL_CLUSTER_STATE"

	snapshotEvery, snapshotKeep = "10m", "6"
)

// Spec is what the objects are built from.
type Spec struct {
	Namespace string
	// Image is etcd's, Dotmesh that of what runs before and beside it.
	Image, Dotmesh string
	// Class of the volumes; LocalClass in local mode.
	Class string
	// Nodes are where members may run in pvcPerNode mode; in local mode their
	// volumes decide.
	Nodes *corev1.NodeSelector
	// Trust is the certs.TrustHash of the ca.crt that the members believe.
	Trust string
}

func labels() map[string]string { return specs.ComponentLabels(component) }

func (s Spec) meta(name string) metav1.ObjectMeta {
	all := labels()
	all[specs.LabelManagedBy] = specs.ManagedBy
	return metav1.ObjectMeta{Namespace: s.Namespace, Name: name, Labels: all}
}

// Services are the members' names, and what clients use.
func (s Spec) Services() []*corev1.Service {
	service := func(name, port string, number int32) *corev1.Service {
		return &corev1.Service{ObjectMeta: s.meta(name), Spec: corev1.ServiceSpec{
			Selector: labels(),
			Ports:    []corev1.ServicePort{{Name: port, Port: number}},
		}}
	}
	peers := service(Name, "peer", peerPort)
	peers.Spec.ClusterIP = corev1.ClusterIPNone
	peers.Spec.PublishNotReadyAddresses = true // members look for each other before they are ready
	return []*corev1.Service{peers, service(clientService, "client", clientPort)}
}

// Budget lets one member be away at a time. One that is broken anyway never stops a
// drain.
func (s Spec) Budget() *policyv1.PodDisruptionBudget {
	one, always := intstr.FromInt32(1), policyv1.AlwaysAllow
	return &policyv1.PodDisruptionBudget{ObjectMeta: s.meta(Name), Spec: policyv1.PodDisruptionBudgetSpec{
		MaxUnavailable:             &one,
		UnhealthyPodEvictionPolicy: &always,
		Selector:                   &metav1.LabelSelector{MatchLabels: labels()},
	}}
}

// ConfigMap is what members without data begin with.
func (s Spec) ConfigMap(b Bootstrap) *corev1.ConfigMap {
	state := "new"
	if b.Existing {
		state = "existing"
	}
	return &corev1.ConfigMap{ObjectMeta: s.meta(Name), Data: map[string]string{clusterKey: b.Cluster, stateKey: state}}
}

// StatefulSet has no replicas: who makes it knows how many. Pods are replaced by the
// reconciler alone: the StatefulSet's own rolling update does not ask how etcd is.
func (s Spec) StatefulSet() *appsv1.StatefulSet {
	none := int32(0)
	set := &appsv1.StatefulSet{ObjectMeta: s.meta(Name), Spec: appsv1.StatefulSetSpec{
		ServiceName:         Name,
		Replicas:            &none,
		PodManagementPolicy: appsv1.ParallelPodManagement, // a lost member must not keep others from starting
		UpdateStrategy:      appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType},
		Selector:            &metav1.LabelSelector{MatchLabels: labels()},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels(), Annotations: map[string]string{certs.TrustAnnotation: s.Trust}},
			Spec:       s.pod(),
		},
		VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{
			ObjectMeta: metav1.ObjectMeta{Name: dataVolume, Labels: labels()},
			Spec:       s.claim(),
		}},
	}}
	set.Spec.Template.Annotations[specs.AnnotationSpec] = specHash(set.Spec.Template)
	set.Spec.Template.Spec.Affinity = s.affinity() // where pods are is none of what they are
	return set
}

// of has a StatefulSet keep a pod for each of these.
func (o Ordinals) of(set *appsv1.StatefulSet) {
	count := int32(o.Count)
	set.Spec.Replicas, set.Spec.Ordinals = &count, nil
	if o.First > 0 {
		set.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: int32(o.First)}
	}
}

// ordinalsKept are those that a StatefulSet of the API server's has pods for.
func ordinalsKept(set *appsv1.StatefulSet) Ordinals {
	kept := Ordinals{Count: int(*set.Spec.Replicas)}
	if set.Spec.Ordinals != nil {
		kept.First = int(set.Spec.Ordinals.Start)
	}
	return kept
}

func (s Spec) claim() corev1.PersistentVolumeClaimSpec {
	mode := corev1.PersistentVolumeFilesystem
	return corev1.PersistentVolumeClaimSpec{
		AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		StorageClassName: &s.Class,
		VolumeMode:       &mode,
		Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: volumeSize()}},
	}
}

// volumeSize holds etcd's database (at most 2 GiB), its log, and the snapshots of
// what is in fact a small database.
func volumeSize() resource.Quantity { return resource.MustParse("8Gi") }

// Volume is a directory of a node for one member, which no other ever used: what a
// removed member left would keep the next from starting. key tells the member.
func (s Spec) Volume(ordinal int, key, location string, node *corev1.Node, member members.ID) *corev1.PersistentVolume {
	name := fmt.Sprintf("%s-%d-%s", Name, ordinal, key)
	create, mode := corev1.HostPathDirectoryOrCreate, corev1.PersistentVolumeFilesystem
	v := &corev1.PersistentVolume{ObjectMeta: s.meta(name), Spec: corev1.PersistentVolumeSpec{
		Capacity:                      corev1.ResourceList{corev1.ResourceStorage: volumeSize()},
		AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		VolumeMode:                    &mode,
		PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		StorageClassName:              LocalClass,
		ClaimRef:                      &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: s.Namespace, Name: claimName(ordinal)},
		PersistentVolumeSource: corev1.PersistentVolumeSource{
			HostPath: &corev1.HostPathVolumeSource{Path: location + "/etcd/" + name, Type: &create},
		},
		// The scheduler asks a volume's affinity of a node's labels alone.
		NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node.Labels[corev1.LabelHostname]}}},
		}}}},
	}}
	v.Namespace = ""
	v.Labels[ordinalLabel] = strconv.Itoa(ordinal)
	v.Annotations = map[string]string{specs.AnnotationNodeName: node.Name, specs.AnnotationNodeUID: string(node.UID)}
	if member != 0 {
		v.Annotations[memberAnnotation] = memberText(member)
	}
	return v
}

func memberText(id members.ID) string { return fmt.Sprintf("%016x", uint64(id)) }

func parseMember(text string) members.ID {
	id, _ := strconv.ParseUint(text, 16, 64) // without one it is the first's
	return members.ID(id)
}

// affinity keeps members apart, and in pvcPerNode mode where servers are.
func (s Spec) affinity() *corev1.Affinity {
	a := &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			LabelSelector: &metav1.LabelSelector{MatchLabels: labels()}, TopologyKey: corev1.LabelHostname,
		}},
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: 100, PodAffinityTerm: corev1.PodAffinityTerm{
			LabelSelector: &metav1.LabelSelector{MatchLabels: labels()}, TopologyKey: corev1.LabelTopologyZone,
		}}},
	}}
	if s.Class != LocalClass && s.Nodes != nil {
		a.NodeAffinity = &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: s.Nodes}
	}
	return a
}

// specHash names what was built. It is not the hash of package specs, which differs for the
// same object: with another one, etcd's pods would all be replaced for nothing.
func specHash(built any) string {
	text, err := json.Marshal(built)
	if err != nil { // of Kubernetes' own types there is none
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
