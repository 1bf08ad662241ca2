package etcd

import (
	"context"
	"fmt"
	"slices"
	"strings"
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
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

// observed is a State and the objects that it was read from.
type observed struct {
	state State
	spec  Spec
	// class is that of the configuration, location where volumes go in local mode.
	class, location string
	// last is the StatefulSet as it was found, nil where there was none, and template what
	// its pods are to be made of.
	last     *appsv1.StatefulSet
	template corev1.PodTemplateSpec
	set      *appsv1.StatefulSet
	begun    *corev1.ConfigMap
	nodes    map[string]*corev1.Node
	volumes  map[int]*corev1.PersistentVolume
	claims   map[int]*corev1.PersistentVolumeClaim
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
	if err := r.observeClaims(ctx, o); err != nil {
		return nil, err
	}
	o.state.Misplaced = o.misplaced()
	if err := r.observePods(ctx, o); err != nil {
		return nil, err
	}
	o.template, o.state.Held = o.nextTemplate(r.ServersCameUp())
	for ordinal, p := range o.pods {
		pod := o.state.Pods[ordinal]
		pod.Outdated = p.Annotations[specs.AnnotationSpec] != o.template.Annotations[specs.AnnotationSpec] || !o.state.Local && o.state.moves(pod.Node)
		o.state.Pods[ordinal] = pod
	}
	return o, nil
}

// observeSet decides the mode: etcd stays where it was first put.
func (r *Reconciler) observeSet(ctx context.Context, o *observed, cfg config.Config) error {
	o.class = LocalClass
	if cfg.StorageMode == config.PVCPerNodeMode {
		o.class = cfg.PVCPerNode.StorageClass.String()
	}
	o.spec.Class = o.class
	var set appsv1.StatefulSet
	err := r.get(ctx, Name, &set)
	if err == nil {
		o.last = &set
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
// on them. People are told by package settings, which refuses it too.
func (r *Reconciler) refuseOurs(ctx context.Context, name string) error {
	var class storagev1.StorageClass
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, &class)
	if err == nil && class.Provisioner == specs.DriverName {
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
		lost := specs.IsOutOfService(n)
		counts := cfg.NodeSelector.Matches(n.Labels) && !lost && n.DeletionTimestamp == nil
		o.state.Nodes = append(o.state.Nodes, Node{
			Name: n.Name, UID: n.UID, Zone: n.Labels[corev1.LabelTopologyZone], Lost: lost, Counts: counts, Cordoned: n.Spec.Unschedulable,
			Suits: counts && suits(n), Takes: counts && takes(n),
		})
	}
	return nil
}

// suits tells whether a member could start on a node when that is well: Kubernetes' own
// taints tell of what passes.
func suits(n *corev1.Node) bool {
	keepsAway := func(t corev1.Taint) bool { return repels(t) && !strings.HasPrefix(t.Key, "node.kubernetes.io/") }
	return !slices.ContainsFunc(n.Spec.Taints, keepsAway) && n.Labels[corev1.LabelHostname] != ""
}

// takes tells whether a member that is bound to a node would start there.
func takes(n *corev1.Node) bool {
	return suits(n) && isReady(n) && !n.Spec.Unschedulable && !slices.ContainsFunc(n.Spec.Taints, repels)
}

func repels(t corev1.Taint) bool { return t.Effect != corev1.TaintEffectPreferNoSchedule }

func isReady(n *corev1.Node) bool { return slices.ContainsFunc(n.Status.Conditions, saysReady) }

// readySince gives the time since when a node is ready; the zero time where it is not.
func readySince(n *corev1.Node) time.Time {
	if i := slices.IndexFunc(n.Status.Conditions, saysReady); i >= 0 {
		return n.Status.Conditions[i].LastTransitionTime.Time
	}
	return time.Time{}
}

func saysReady(c corev1.NodeCondition) bool {
	return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
}

func (r *Reconciler) observeVolumes(ctx context.Context, o *observed) error {
	o.volumes, o.state.Volumes = map[int]*corev1.PersistentVolume{}, map[int]Volume{}
	var volumes corev1.PersistentVolumeList
	if err := r.Client.List(ctx, &volumes, client.MatchingLabels(labels())); err != nil {
		return fmt.Errorf("list volumes: %w", err)
	}
	for i := range volumes.Items {
		v := &volumes.Items[i]
		ordinal, valid := parseOrdinal(v.Labels[ordinalLabel])
		if ref := v.Spec.ClaimRef; !valid || ref == nil || ref.Namespace != r.Spec.Namespace {
			continue
		}
		// There is one for each member; should there be more, the older goes first.
		if other, exists := o.volumes[ordinal]; exists && other.CreationTimestamp.Before(&v.CreationTimestamp) {
			continue
		}
		o.volumes[ordinal] = v
		o.state.Volumes[ordinal] = Volume{Node: v.Annotations[specs.AnnotationNodeName], Member: parseMember(v.Annotations[memberAnnotation]), NodeUID: types.UID(v.Annotations[specs.AnnotationNodeUID]), Unclaimed: v.Status.Phase == corev1.VolumeReleased}
	}
	return nil
}

// observeClaims has whose they are told for pvcPerNode mode; in local mode volumes tell as
// much.
func (r *Reconciler) observeClaims(ctx context.Context, o *observed) error {
	o.claims, o.state.Claims = map[int]*corev1.PersistentVolumeClaim{}, map[int]members.ID{}
	var claims corev1.PersistentVolumeClaimList
	if err := r.Client.List(ctx, &claims, client.InNamespace(r.Spec.Namespace), client.MatchingLabels(labels())); err != nil {
		return fmt.Errorf("list claims: %w", err)
	}
	for i := range claims.Items {
		c := &claims.Items[i]
		ordinal, valid := parseOrdinal(c.Name[strings.LastIndexByte(c.Name, '-')+1:])
		if !valid || c.Name != claimName(ordinal) {
			continue
		}
		o.claims[ordinal] = c
		if !o.state.Local {
			o.state.Claims[ordinal] = parseMember(c.Annotations[memberAnnotation])
		}
	}
	return nil
}

// misplaced tells whether the first volume is waited for from another class than the
// configuration's. Those of local mode are made here, and come.
func (o *observed) misplaced() bool {
	claim, exists := o.claims[0]
	switch {
	case o.state.Local && o.class != LocalClass:
		return false
	case !exists:
		return o.spec.Class != o.class
	}
	return claim.Spec.VolumeName == "" && (o.spec.Class != o.class || classOf(claim) != o.class)
}

func classOf(claim *corev1.PersistentVolumeClaim) string {
	if claim.Spec.StorageClassName == nil {
		return ""
	}
	return *claim.Spec.StorageClassName
}

func (r *Reconciler) observePods(ctx context.Context, o *observed) error {
	o.pods, o.state.Pods = map[int]*corev1.Pod{}, map[int]Pod{}
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(r.Spec.Namespace), client.MatchingLabels(labels())); err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	now, joining := r.Now(), map[string]time.Time{}
	for i := range pods.Items {
		p := &pods.Items[i]
		ordinal, valid := parseOrdinal(p.Labels["apps.kubernetes.io/pod-index"])
		if !valid || p.Name != podName(ordinal) {
			continue
		}
		o.pods[ordinal] = p
		on := o.nodes[p.Spec.NodeName]
		ready, since := readiness(p, on)
		_, inVain := waitsInVain(p)
		empty := false
		if container := joins(p, on); container != "" {
			seen, known := r.joining[container]
			if !known {
				seen = now
			}
			joining[container] = seen
			empty = now.Sub(seen) > brokenAfter
		}
		reach, err := r.reach(ctx, o, o.claims[ordinal])
		if err != nil {
			return err
		}
		o.state.Pods[ordinal] = Pod{
			ReachableFrom: reach,
			ClaimGoes:     o.goes(o.claims[ordinal]),
			Node:          p.Spec.NodeName,
			Away:          on != nil && !isReady(on),
			InVain:        inVain,
			Ready:         ready,
			Trouble:       o.trouble(p, o.claims[ordinal]),
			Broken:        !ready && now.Sub(since) > brokenAfter,
			Stuck:         !ready && now.Sub(since) > stuckAfter,
			Empty:         empty,
			Deleting:      p.DeletionTimestamp != nil,
			Unending:      p.DeletionTimestamp != nil && now.Sub(p.DeletionTimestamp.Time) > brokenAfter, // which has the grace in it
		}
	}
	r.joining = joining
	return nil
}

// goes tells whether a claim is being deleted and its data with it: a volume of local mode
// is kept.
func (o *observed) goes(claim *corev1.PersistentVolumeClaim) bool {
	return !o.state.Local && claim != nil && claim.DeletionTimestamp != nil
}

// reach gives the nodes that can have a claim's volume; nil: all.
func (r *Reconciler) reach(ctx context.Context, o *observed, claim *corev1.PersistentVolumeClaim) ([]string, error) {
	if o.state.Local || claim == nil || claim.Spec.VolumeName == "" {
		return nil, nil
	}
	var volume corev1.PersistentVolume
	if err := r.Client.Get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, &volume); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	where := specs.ReachOf(&volume)
	reach := []string{}
	for name, n := range o.nodes {
		if where.Includes(name, n.Labels) {
			reach = append(reach, name)
		}
	}
	return reach, nil
}

const (
	// brokenAfter is how long a member may be slow, or starting, before it counts as broken.
	brokenAfter = 2 * time.Minute
	// stuckAfter is how long one may be that has an image to pull, and data to be sent.
	stuckAfter = 10 * time.Minute
)

// readiness tells since when a pod is ready, or is not though its node, if it has one, is.
func readiness(p *corev1.Pod, on *corev1.Node) (ready bool, since time.Time) {
	since = p.CreationTimestamp.Time
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			ready, since = c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	if on != nil && since.Before(readySince(on)) {
		since = readySince(on)
	}
	return ready, since
}

// joins gives the container in which a member looks for its data, and waits where there
// is none; "" where it does not run, or its node does not tell.
func joins(p *corev1.Pod, on *corev1.Node) string {
	if on == nil || !isReady(on) {
		return ""
	}
	for _, c := range p.Status.InitContainerStatuses {
		if c.Name == joinContainer && c.State.Running != nil {
			return c.ContainerID
		}
	}
	return ""
}

func (r *Reconciler) get(ctx context.Context, name string, into client.Object) error {
	return r.Client.Get(ctx, client.ObjectKey{Namespace: r.Spec.Namespace, Name: name}, into)
}
