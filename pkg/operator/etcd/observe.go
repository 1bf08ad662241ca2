package etcd

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/certs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// driverName is the CSI driver's.
const driverName = "dotmesh.csi"

// observed is a State and the objects that it was read from.
type observed struct {
	state    State
	spec     Spec
	location string
	set      *appsv1.StatefulSet
	begun    *corev1.ConfigMap
	nodes    map[string]*corev1.Node
	volumes  map[int]*corev1.PersistentVolume
	pods     map[int]*corev1.Pod
}

// observe reads all but etcd itself.
func (r *Reconciler) observe(ctx context.Context, cfg config.Config) (*observed, error) {
	o := &observed{spec: r.Spec, location: cfg.Local.PoolLocation.String()}
	o.state.Namespace = r.Spec.Namespace
	if err := r.observeSet(ctx, o, cfg); err != nil {
		return nil, err
	}
	o.spec.Nodes = cfg.NodeSelector.Affinity()
	var secret corev1.Secret
	switch err := r.get(ctx, pki.SecretEtcdServer, &secret); {
	case err == nil:
		o.spec.Trust = certs.TrustHash(secret.Data[pki.CAFile])
	case !apierrors.IsNotFound(err):
		return nil, err
	}
	o.begun = &corev1.ConfigMap{}
	switch err := r.get(ctx, Name, o.begun); {
	case err == nil:
		o.state.Begun = &Bootstrap{Cluster: o.begun.Data[clusterKey], Existing: o.begun.Data[stateKey] == "existing"}
	case apierrors.IsNotFound(err):
		o.begun = nil
	default:
		return nil, err
	}
	if err := r.observeNodes(ctx, o, cfg); err != nil {
		return nil, err
	}
	if err := r.observeVolumes(ctx, o); err != nil {
		return nil, err
	}
	return o, r.observePods(ctx, o)
}

// observeSet decides the mode: etcd stays where it was first put.
func (r *Reconciler) observeSet(ctx context.Context, o *observed, cfg config.Config) error {
	o.spec.Class = LocalClass
	if cfg.StorageMode == config.PVCPerNodeMode {
		o.spec.Class = cfg.PVCPerNode.StorageClass.String()
	}
	var set appsv1.StatefulSet
	err := r.get(ctx, Name, &set)
	if err == nil {
		o.state.Replicas = int(*set.Spec.Replicas)
		if claims := set.Spec.VolumeClaimTemplates; len(claims) > 0 && claims[0].Spec.StorageClassName != nil {
			o.spec.Class = *claims[0].Spec.StorageClassName
		}
	}
	o.state.Local = o.spec.Class == LocalClass
	if !apierrors.IsNotFound(err) || o.state.Local {
		return client.IgnoreNotFound(err)
	}
	return r.refuseOurs(ctx, o.spec.Class)
}

// refuseOurs refuses a class whose volumes would need the registry that is to lie
// on them.
func (r *Reconciler) refuseOurs(ctx context.Context, name string) error {
	var class storagev1.StorageClass
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, &class)
	if err == nil && class.Provisioner == driverName {
		return dot.Precondition("etcd cannot lie on volumes of the StorageClass %s, which are dotmesh's own: set pvcPerNode.storageClass to another", name)
	}
	return client.IgnoreNotFound(err)
}

func (r *Reconciler) observeNodes(ctx context.Context, o *observed, cfg config.Config) error {
	var nodes corev1.NodeList
	if err := r.Client.List(ctx, &nodes); err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	o.nodes = map[string]*corev1.Node{}
	for i := range nodes.Items {
		n := &nodes.Items[i]
		o.nodes[n.Name] = n
		lost := slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
		counts := cfg.NodeSelector.Matches(n.Labels) && !lost && n.DeletionTimestamp == nil
		o.state.Nodes = append(o.state.Nodes, Node{
			Name: n.Name, UID: n.UID, Zone: n.Labels[corev1.LabelTopologyZone], Lost: lost, Counts: counts, Cordoned: n.Spec.Unschedulable,
			Takes: counts && takes(n),
		})
	}
	return nil
}

// takes tells whether a member that is bound to a node would start there.
func takes(n *corev1.Node) bool {
	ready := slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	repels := slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Effect != corev1.TaintEffectPreferNoSchedule })
	return ready && !n.Spec.Unschedulable && !repels && n.Labels[corev1.LabelHostname] != ""
}

func (r *Reconciler) observeVolumes(ctx context.Context, o *observed) error {
	o.volumes, o.state.Volumes = map[int]*corev1.PersistentVolume{}, map[int]Volume{}
	var volumes corev1.PersistentVolumeList
	if err := r.Client.List(ctx, &volumes, client.MatchingLabels(labels())); err != nil {
		return fmt.Errorf("list volumes: %w", err)
	}
	for i := range volumes.Items {
		v := &volumes.Items[i]
		ordinal, err := strconv.Atoi(v.Labels[ordinalLabel])
		if ref := v.Spec.ClaimRef; err != nil || ref == nil || ref.Namespace != r.Spec.Namespace {
			continue
		}
		// There is one for each member; should there be more, the older goes first.
		if other, exists := o.volumes[ordinal]; exists && other.CreationTimestamp.Before(&v.CreationTimestamp) {
			continue
		}
		o.volumes[ordinal] = v
		o.state.Volumes[ordinal] = Volume{Node: v.Annotations[nodeAnnotation], Member: parseMember(v.Annotations[memberAnnotation]), NodeUID: types.UID(v.Annotations[nodeUIDAnnotation])}
	}
	return nil
}

func (r *Reconciler) observePods(ctx context.Context, o *observed) error {
	o.pods, o.state.Pods = map[int]*corev1.Pod{}, map[int]Pod{}
	want := o.spec.StatefulSet().Spec.Template.Annotations[specAnnotation]
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(r.Spec.Namespace), client.MatchingLabels(labels())); err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		ordinal, err := strconv.Atoi(p.Labels["apps.kubernetes.io/pod-index"])
		if err != nil || p.Name != podName(ordinal) {
			continue
		}
		o.pods[ordinal] = p
		ready, since := readiness(p)
		o.state.Pods[ordinal] = Pod{
			Ready:    ready,
			Broken:   !ready && time.Since(since) > brokenAfter,
			Deleting: p.DeletionTimestamp != nil,
			Outdated: p.Annotations[specAnnotation] != want || !o.state.Local && o.state.moves(p.Spec.NodeName),
		}
	}
	return nil
}

// brokenAfter is how long a member may be slow, or starting, before it counts as broken.
const brokenAfter = 2 * time.Minute

// readiness tells since when a pod is ready, or is not.
func readiness(p *corev1.Pod) (ready bool, since time.Time) {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	return false, p.CreationTimestamp.Time
}

// moves tells whether a pod, which its volume follows, is to leave its node.
func (s State) moves(node string) bool {
	i := s.node(node)
	return i >= 0 && !s.Nodes[i].Counts && slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.Takes })
}

func (r *Reconciler) get(ctx context.Context, name string, into client.Object) error {
	return r.Client.Get(ctx, client.ObjectKey{Namespace: r.Spec.Namespace, Name: name}, into)
}
