package pools

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// What is done here cannot be taken back, should a cache have been behind. So the API server
// is asked once more, just before.

// freePVC takes a PVC from its node, from a dead one only if that is dead still.
func (p *Pools) freePVC(ctx context.Context, a plan.FreePVC) error {
	if a.Dead != (plan.Machine{}) {
		if err := p.stillDead(ctx, a.Dead); err != nil {
			return err
		}
	}
	return p.change(ctx, a.Change)
}

// stillDead is errMoved if the node of a machine's name may be that machine, and is in
// service.
func (p *Pools) stillDead(ctx context.Context, m plan.Machine) error {
	var node corev1.Node
	err := p.cfg.Live.Get(ctx, client.ObjectKey{Name: m.Node}, &node)
	switch {
	case apierrors.IsNotFound(err) && m.Node != "":
		return nil
	case err != nil:
		return fmt.Errorf("read node %q: %w", m.Node, err)
	case !m.IsDead(nodeOf(node)):
		return errMoved
	}
	return nil
}

// recordNode writes down which machine a PVC is assigned to. A cache may still have an earlier
// node of the name: if that was written down, the present one would be taken for another
// machine.
func (p *Pools) recordNode(ctx context.Context, a plan.RecordNode) error {
	var node corev1.Node
	if err := p.cfg.Live.Get(ctx, client.ObjectKey{Name: a.To.Node}, &node); err != nil {
		return fmt.Errorf("read node %q: %w", a.To.Node, err)
	}
	if n := nodeOf(node); n.Machine != a.To.Machine || n.OutOfService {
		return errMoved
	}
	return p.change(ctx, a.Change)
}

func (p *Pools) createHolder(ctx context.Context, s plan.State, a plan.CreateHolder) error {
	if _, err := p.stillAssigned(ctx, a.Claim, a.Node); err != nil {
		return err
	}
	return p.create(ctx, specs.HolderPod(s.Cluster, a.Holder))
}

// deleteGuard deletes a budget, unless there is a holder of its name.
func (p *Pools) deleteGuard(ctx context.Context, a plan.DeleteGuard) error {
	err := p.cfg.Live.Get(ctx, client.ObjectKey{Namespace: p.cfg.Cluster.Namespace, Name: a.Name}, &corev1.Pod{})
	switch {
	case err == nil:
		return errMoved
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("look for holder %s: %w", a.Name, err)
	}
	return p.cfg.Client.Delete(ctx, &policyv1.PodDisruptionBudget{ObjectMeta: p.named(a.Name)})
}

// createServer makes a server's pod. One that may take a pool over, which nobody
// exported, is made only if the volume is attached to its node alone.
func (p *Pools) createServer(ctx context.Context, s plan.State, a plan.CreateServer) error {
	if a.Claim != nil {
		pvc, err := p.stillAssigned(ctx, *a.Claim, a.Node)
		if err == nil && a.Claim.TakeOver {
			err = p.attachedOnlyTo(ctx, pvc.volume, pvc.to)
		}
		if err != nil {
			return err
		}
	}
	return p.create(ctx, specs.ServerPod(s.Cluster, s.Config, a.Server))
}

// given is a PVC's volume, and the machine that the PVC is assigned to.
type given struct {
	volume string
	to     plan.Machine
}

// stillAssigned is errMoved unless the PVC is the node's, in this generation.
func (p *Pools) stillAssigned(ctx context.Context, claim specs.Claim, node string) (given, error) {
	var pvc corev1.PersistentVolumeClaim
	if err := p.cfg.Live.Get(ctx, client.ObjectKey{Namespace: p.cfg.Cluster.Namespace, Name: claim.PVC}, &pvc); err != nil {
		return given{}, err
	}
	a, err := specs.ParseAssignment(pvc.Annotations)
	if err != nil || pvc.UID != claim.UID || a.Node != node || a.Generation != claim.Generation {
		return given{}, errMoved
	}
	return given{pvc.Spec.VolumeName, plan.Machine{Node: a.Node, Machine: a.Machine}}, nil
}

// attachedOnlyTo is errMoved unless the volume is attached to the machine, and nowhere
// else. An attachment has only the node's name, but is not that of an earlier machine: the
// plan assigns no PVC to a node before such a one is gone.
func (p *Pools) attachedOnlyTo(ctx context.Context, volume string, m plan.Machine) error {
	var node corev1.Node
	if err := p.cfg.Live.Get(ctx, client.ObjectKey{Name: m.Node}, &node); err != nil {
		return err
	}
	if node.UID != m.UID {
		return errMoved
	}
	var attachments storagev1.VolumeAttachmentList
	if err := p.cfg.Live.List(ctx, &attachments); err != nil {
		return fmt.Errorf("list VolumeAttachments: %w", err)
	}
	here := false
	for _, a := range attachments.Items {
		if name := a.Spec.Source.PersistentVolumeName; name == nil || *name != volume {
			continue
		}
		if a.Spec.NodeName != m.Node {
			return errMoved
		}
		here = true
	}
	if !here {
		return errMoved
	}
	return nil
}
