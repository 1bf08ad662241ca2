package etcd

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

// take does a step. Each may be done twice: the operator may be killed after it, or
// see it late.
func (r *Reconciler) take(ctx context.Context, o *observed, cluster Cluster, step Step) error {
	switch step.Do {
	case WriteBootstrap:
		return r.writeBootstrap(ctx, o, step.Bootstrap)
	case CreateVolume:
		return r.createVolume(ctx, o, step)
	case MarkVolume:
		return r.markVolume(ctx, o, step)
	case DeleteVolume:
		return r.deleteVolume(ctx, o, step.Ordinal)
	case RebindVolume:
		return r.rebindVolume(ctx, o, step.Ordinal)
	case MarkClaim:
		return r.markClaim(ctx, o.claims[step.Ordinal], step.Member)
	case DeleteClaim:
		return r.deleteClaim(ctx, o, step.Ordinal, o.claims[step.Ordinal])
	case MakeAnew:
		return r.makeAnew(ctx, o)
	case Scale:
		set := o.set.DeepCopy()
		step.Keep.of(set)
		return r.Client.Update(ctx, set)
	case AddMember:
		return cluster.AddLearner(ctx, peerURL(r.Spec.Namespace, step.Ordinal))
	case Promote:
		return cluster.Promote(ctx, step.Member)
	case Remove:
		return cluster.Remove(ctx, step.Member)
	case Restart:
		return r.restart(ctx, o, step.Ordinal)
	}
	return fmt.Errorf("there is no step %q", step.Do)
}

func (r *Reconciler) writeBootstrap(ctx context.Context, o *observed, b Bootstrap) error {
	want := o.spec.ConfigMap(b)
	if o.begun == nil {
		return r.Client.Create(ctx, want)
	}
	found := o.begun.DeepCopy()
	found.Data = want.Data
	return r.Client.Update(ctx, found)
}

// createVolume names the volume by the member, or, of the first, by the beginning:
// so the same volume is met again, and no other member ever.
func (r *Reconciler) createVolume(ctx context.Context, o *observed, step Step) error {
	node := o.nodes[step.Node]
	if node == nil || o.begun == nil {
		return dot.Errorf(dot.CodeAborted, "node %s has gone meanwhile", step.Node)
	}
	key := string(o.begun.UID)
	if step.Member != 0 {
		key = memberText(step.Member)
	}
	err := r.Client.Create(ctx, o.spec.Volume(step.Ordinal, key, o.location, node, step.Member))
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (r *Reconciler) markVolume(ctx context.Context, o *observed, step Step) error {
	marked := o.volumes[step.Ordinal].DeepCopy()
	metav1.SetMetaDataAnnotation(&marked.ObjectMeta, memberAnnotation, memberText(step.Member))
	if node := o.nodes[marked.Annotations[specs.AnnotationNodeName]]; node != nil {
		metav1.SetMetaDataAnnotation(&marked.ObjectMeta, specs.AnnotationNodeUID, string(node.UID))
	}
	return r.Client.Update(ctx, marked)
}

// rebindVolume lets the next claim of the name have a volume: Kubernetes refuses that while the
// last claim's UID stands there.
func (r *Reconciler) rebindVolume(ctx context.Context, o *observed, ordinal int) error {
	free := o.volumes[ordinal].DeepCopy()
	free.Spec.ClaimRef.UID, free.Spec.ClaimRef.ResourceVersion = "", ""
	return r.Client.Update(ctx, free)
}

// deleteVolume forgets a volume; the directory on the node stays. The claim goes
// first, which waits for its pod: a claim that has lost its volume would stay so.
func (r *Reconciler) deleteVolume(ctx context.Context, o *observed, ordinal int) error {
	volume := o.volumes[ordinal]
	var claim corev1.PersistentVolumeClaim
	err := r.get(ctx, claimName(ordinal), &claim)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if err == nil && claim.Spec.VolumeName == volume.Name {
		return r.deleteClaim(ctx, o, ordinal, &claim)
	}
	return r.delete(ctx, volume)
}

func (r *Reconciler) markClaim(ctx context.Context, claim *corev1.PersistentVolumeClaim, member members.ID) error {
	marked := claim.DeepCopy()
	metav1.SetMetaDataAnnotation(&marked.ObjectMeta, memberAnnotation, memberText(member))
	err := r.Client.Patch(ctx, marked, client.MergeFromWithOptions(claim, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsNotFound(err) {
		return nil // the StatefulSet makes another
	}
	return err
}

// deleteClaim has the StatefulSet make another one, when its pod has let go of it.
func (r *Reconciler) deleteClaim(ctx context.Context, o *observed, ordinal int, claim *corev1.PersistentVolumeClaim) error {
	if claim.DeletionTimestamp == nil {
		if err := r.delete(ctx, claim); err != nil {
			return err
		}
	}
	return r.deletePod(ctx, o, ordinal)
}

// makeAnew deletes what waits for a volume of another class than the configuration's; the
// next look makes the StatefulSet for that. A claim that has got its volume meanwhile has
// changed, and stays.
func (r *Reconciler) makeAnew(ctx context.Context, o *observed) error {
	if claim := o.claims[0]; claim != nil && classOf(claim) != o.class {
		seen := client.Preconditions{UID: &claim.UID, ResourceVersion: &claim.ResourceVersion}
		err := r.Client.Delete(ctx, claim, seen)
		if apierrors.IsConflict(err) {
			return dot.Errorf(dot.CodeAborted, "%s has changed meanwhile: %w", claim.Name, err)
		}
		if client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	if o.spec.Class != o.class {
		if err := r.delete(ctx, o.set); err != nil {
			return err
		}
	}
	return r.deletePod(ctx, o, 0)
}

// restart has the StatefulSet make a pod anew. One that is ready is evicted: what was
// seen here may be old, and the budget is asked whether another is away by now.
func (r *Reconciler) restart(ctx context.Context, o *observed, ordinal int) error {
	pod := o.pods[ordinal]
	if !o.state.Pods[ordinal].Ready {
		return r.deletePod(ctx, o, ordinal)
	}
	err := r.Client.SubResource("eviction").Create(ctx, pod, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}},
	})
	switch {
	case apierrors.IsTooManyRequests(err):
		return dot.Errorf(dot.CodeUnavailable, "another member is away: %w", err)
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return nil
	}
	return err
}

// deletePod has the StatefulSet make it anew. On a node that is gone nobody ends it
// otherwise.
func (r *Reconciler) deletePod(ctx context.Context, o *observed, ordinal int) error {
	pod := o.pods[ordinal]
	if pod == nil {
		return nil
	}
	volume, local := o.state.Volumes[ordinal]
	if pod.Spec.NodeName != "" && (o.state.gone(pod.Spec.NodeName) || local && o.state.lost(volume)) {
		return r.delete(ctx, pod, client.GracePeriodSeconds(0))
	}
	if pod.DeletionTimestamp != nil {
		return nil
	}
	return r.delete(ctx, pod)
}

// delete deletes the very object that was seen.
func (r *Reconciler) delete(ctx context.Context, seen client.Object, options ...client.DeleteOption) error {
	uid := seen.GetUID()
	err := r.Client.Delete(ctx, seen, append(options, client.Preconditions{UID: &uid})...)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
