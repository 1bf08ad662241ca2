package pools

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// errMoved says that the cluster is not as it was observed any more, so that the
// action was not done and has to be decided on anew.
var errMoved = errors.New("the cluster has moved on")

// errRefused says that an action was refused, and who can change that was told: to ask
// again at once is in vain.
var errRefused = errors.New("it was refused, which an Event tells of")

// isMoved tells whether err is no failure: what was to be made is there (create), what was
// to be deleted is gone, or somebody changed it since it was observed.
func isMoved(err error) bool {
	return errors.Is(err, errMoved) || apierrors.IsConflict(err) || apierrors.IsNotFound(err)
}

// do does one action.
func (p *Pools) do(ctx context.Context, s plan.State, action plan.Action) error {
	switch a := action.(type) {
	case plan.LabelNode:
		return p.labelNode(ctx, a)
	case plan.UnlabelNode:
		return p.unlabelNode(ctx, a)
	case plan.CreatePVC:
		return p.createPVC(ctx, specs.PVC(s.Cluster, s.Config, a.Name))
	case plan.AssignPVC:
		return p.change(ctx, a.Change)
	case plan.RecordPool:
		return p.change(ctx, a.Change)
	case plan.RecordNode:
		return p.recordNode(ctx, a)
	case plan.MarkReleased:
		return p.change(ctx, a.Change)
	case plan.MarkImported:
		return p.change(ctx, a.Change)
	case plan.FreePVC:
		return p.freePVC(ctx, a)
	case plan.DeletePVC:
		return p.deletePVC(ctx, a)
	case plan.GrowPVC:
		return p.growPVC(ctx, a)
	case plan.CreateGuard:
		return p.create(ctx, specs.HolderBudget(s.Cluster, a.Holder))
	case plan.DeleteGuard:
		return p.deleteGuard(ctx, a)
	case plan.CreateHolder:
		return p.createHolder(ctx, s, a)
	case plan.DeleteHolder:
		return p.deletePod(ctx, a.PodRef)
	case plan.CreateServer:
		return p.createServer(ctx, s, a)
	case plan.DeleteServer:
		return p.deletePod(ctx, a.PodRef)
	case plan.Release:
		return p.release(ctx, s, a)
	case plan.Warn:
		p.cfg.Events.Warning(s.Reference(a.Object), a.Reason, a.Message)
		return nil
	}
	return fmt.Errorf("no way is known to %s", action)
}

func (p *Pools) named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: p.cfg.Cluster.Namespace, Name: name}
}

func (p *Pools) labelNode(ctx context.Context, a plan.LabelNode) error {
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, specs.LabelServer, specs.True)
	return p.cfg.Client.Patch(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: a.Node}}, client.RawPatch(types.MergePatchType, patch))
}

func (p *Pools) unlabelNode(ctx context.Context, a plan.UnlabelNode) error {
	patch := fmt.Appendf(nil, `{"metadata":{"resourceVersion":%q,"labels":{%q:null}}}`, a.ResourceVersion, specs.LabelServer)
	return p.cfg.Client.Patch(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: a.Node}}, client.RawPatch(types.MergePatchType, patch))
}

// claim reads the PVC that was observed, and no other version of it.
func (p *Pools) claim(ctx context.Context, ref plan.PVCRef) (*corev1.PersistentVolumeClaim, error) {
	var pvc corev1.PersistentVolumeClaim
	if err := p.cfg.Client.Get(ctx, client.ObjectKey{Namespace: p.cfg.Cluster.Namespace, Name: ref.Name}, &pvc); err != nil {
		return nil, err
	}
	if pvc.UID != ref.UID || pvc.ResourceVersion != ref.ResourceVersion {
		return nil, errMoved
	}
	return &pvc, nil
}

// change writes an assignment; the API server compares the resourceVersion.
func (p *Pools) change(ctx context.Context, c plan.Change) error {
	pvc, err := p.claim(ctx, c.PVCRef)
	if err != nil {
		return err
	}
	next := pvc.DeepCopy()
	next.Annotations = c.To.Write(pvc.Annotations)
	return p.cfg.Client.Patch(ctx, next, client.MergeFromWithOptions(pvc, client.MergeFromWithOptimisticLock{}))
}

// createPVC makes one, unless its volume would be made of the pool that is to lie on it.
// The settings refuse such a class, but it may have been made after they were read.
func (p *Pools) createPVC(ctx context.Context, pvc *corev1.PersistentVolumeClaim) error {
	var class storagev1.StorageClass
	err := p.cfg.Client.Get(ctx, client.ObjectKey{Name: *pvc.Spec.StorageClassName}, &class)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("read StorageClass %s: %w", *pvc.Spec.StorageClassName, err)
	case class.Provisioner == specs.DriverName:
		return fmt.Errorf("StorageClass %s is of dotmesh's own provisioner: set pvcPerNode.storageClass to another", class.Name)
	}
	return p.create(ctx, pvc)
}

// growPVC asks for more. Where the PVC's class does not allow it, a person has to.
func (p *Pools) growPVC(ctx context.Context, a plan.GrowPVC) error {
	pvc, err := p.claim(ctx, a.PVCRef)
	if err != nil {
		return err
	}
	next := pvc.DeepCopy()
	next.Spec.Resources.Requests[corev1.ResourceStorage] = *resource.NewQuantity(a.Bytes, resource.BinarySI)
	err = p.cfg.Client.Patch(ctx, next, client.MergeFromWithOptions(pvc, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
		p.cfg.Events.Warning(specs.Reference("v1", "PersistentVolumeClaim", pvc),
			"CannotGrow", fmt.Sprintf("cannot grow to %s, as the configuration wants: %v; does its StorageClass have allowVolumeExpansion?", next.Spec.Resources.Requests.Storage(), err))
		return errRefused
	}
	return err
}

func (p *Pools) deletePVC(ctx context.Context, a plan.DeletePVC) error {
	return p.cfg.Client.Delete(ctx, &corev1.PersistentVolumeClaim{ObjectMeta: p.named(a.Name)},
		client.Preconditions{UID: &a.UID, ResourceVersion: &a.ResourceVersion})
}

// deletePod deletes one pod, and none that was made in its place.
func (p *Pools) deletePod(ctx context.Context, ref plan.PodRef) error {
	only := client.Preconditions{UID: &ref.UID}
	if ref.ResourceVersion != "" {
		only.ResourceVersion = &ref.ResourceVersion
	}
	opts := []client.DeleteOption{only}
	if ref.Force() {
		if err := p.stillDead(ctx, ref.Dead); err != nil {
			return err
		}
		opts = append(opts, client.GracePeriodSeconds(0))
	}
	return p.cfg.Client.Delete(ctx, &corev1.Pod{ObjectMeta: p.named(ref.Name)}, opts...)
}

// release asks a server to export its pool. That it refuses is no failure; who uses
// the pool is told on the node.
func (p *Pools) release(ctx context.Context, s plan.State, a plan.Release) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	var pod corev1.Pod
	if err := p.cfg.Client.Get(ctx, client.ObjectKey{Namespace: p.cfg.Cluster.Namespace, Name: a.Name}, &pod); err != nil {
		return err
	}
	if pod.UID != a.UID || pod.Status.PodIP == "" {
		return errMoved
	}
	defer p.seen.forget(a.UID)
	answer, err := p.cfg.Servers.Release(ctx, addressOf(pod), a.Generation)
	if err != nil || answer.Released {
		return err
	}
	note := fmt.Sprintf("the pool of %s cannot be exported: %s", a.Name, answer.Reason)
	if len(answer.Holders) > 0 {
		note += ": " + plan.UsersText(answer.Holders)
	}
	p.cfg.Events.Warning(s.Reference(plan.Object{Kind: "Node", Name: pod.Annotations[specs.AnnotationNodeName]}), plan.PoolInUse, note)
	return nil
}
