package pools

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// observe reads the cluster and asks the servers. Without the ConfigMap of ours the
// State's Cluster has no Owner, and nothing can be made.
func (p *Pools) observe(ctx context.Context, c config.Config) (Observation, error) {
	s := plan.State{Now: p.cfg.Now(), Config: c, Cluster: p.cfg.Cluster}
	missing := p.missing
	p.missing = nil // if this observation fails, the next one begins anew
	var kept corev1.ConfigMap
	err := p.cfg.Client.Get(ctx, client.ObjectKey{Namespace: s.Cluster.Namespace, Name: specs.SettingsName}, &kept)
	switch {
	case apierrors.IsNotFound(err):
		return Observation{State: s}, nil
	case err != nil:
		return Observation{}, fmt.Errorf("read ConfigMap %s: %w", specs.SettingsName, err)
	}
	s.Cluster.Owner = kept.UID
	for _, read := range []func(context.Context, *plan.State) error{p.readNodes, p.readClaims, p.readGuards} {
		if err := read(ctx, &s); err != nil {
			return Observation{}, err
		}
	}
	statuses, err := p.readPods(ctx, &s)
	if err != nil {
		return Observation{}, err
	}
	s.Missing = s.MissingSince(missing)
	p.missing = s.Missing
	return Observation{s, statuses}, nil
}

func (p *Pools) readNodes(ctx context.Context, s *plan.State) error {
	var nodes corev1.NodeList
	if err := p.cfg.Client.List(ctx, &nodes); err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	for _, n := range nodes.Items {
		s.Nodes = append(s.Nodes, nodeOf(n))
	}
	return nil
}

func nodeOf(n corev1.Node) plan.Node {
	node := plan.Node{
		Name: n.Name, ResourceVersion: n.ResourceVersion, Created: n.CreationTimestamp.Time, Labels: n.Labels, Taints: n.Spec.Taints,
		Machine:  specs.Machine{UID: n.UID, Boot: n.Status.NodeInfo.BootID, System: n.Status.NodeInfo.SystemUUID},
		Cordoned: n.Spec.Unschedulable, Deleting: n.DeletionTimestamp != nil,
	}
	node.OutOfService = specs.IsOutOfService(&n)
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			node.Ready, node.ReadySince = c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	return node
}

// readClaims reads the PVCs, their PersistentVolumes, and where those are attached.
func (p *Pools) readClaims(ctx context.Context, s *plan.State) error {
	var claims corev1.PersistentVolumeClaimList
	if err := p.cfg.Client.List(ctx, &claims, client.InNamespace(s.Cluster.Namespace), client.MatchingLabels{specs.LabelRole: specs.RolePool}); err != nil {
		return fmt.Errorf("list PersistentVolumeClaims: %w", err)
	}
	ours := map[string]bool{}
	for _, c := range claims.Items {
		pvc := claimOf(c)
		if pvc.Volume != "" {
			ours[pvc.Volume] = true
			if err := p.readVolume(ctx, &pvc); err != nil {
				return err
			}
		}
		s.PVCs = append(s.PVCs, pvc)
	}
	var attachments storagev1.VolumeAttachmentList
	if err := p.cfg.Client.List(ctx, &attachments); err != nil {
		return fmt.Errorf("list VolumeAttachments: %w", err)
	}
	s.DotsAttached = map[string]bool{}
	for _, a := range attachments.Items {
		if a.Spec.Attacher == specs.DriverName {
			s.DotsAttached[a.Spec.NodeName] = true
		}
		if name := a.Spec.Source.PersistentVolumeName; name != nil && ours[*name] {
			s.Attachments = append(s.Attachments, plan.Attachment{Name: a.Name, Volume: *name, Node: a.Spec.NodeName, Created: a.CreationTimestamp.Time})
		}
	}
	return nil
}

func claimOf(c corev1.PersistentVolumeClaim) plan.PVC {
	pvc := plan.PVC{
		Name: c.Name, UID: c.UID, ResourceVersion: c.ResourceVersion,
		Created: c.CreationTimestamp.Time, Deleting: c.DeletionTimestamp != nil,
		VolumeMode: corev1.PersistentVolumeFilesystem,
		Requested:  c.Spec.Resources.Requests.Storage().Value(),
		Capacity:   c.Status.Capacity.Storage().Value(),
		Volume:     c.Spec.VolumeName,
		Lost:       c.Status.Phase == corev1.ClaimLost,
	}
	if c.Spec.VolumeMode != nil {
		pvc.VolumeMode = *c.Spec.VolumeMode
	}
	var err error
	if pvc.Assignment, err = specs.ParseAssignment(c.Annotations); err != nil {
		pvc.Malformed = err.Error()
	}
	return pvc
}

// readVolume adds what the PersistentVolume says. One that is gone is no error: the
// PVC's phase tells of it.
func (p *Pools) readVolume(ctx context.Context, pvc *plan.PVC) error {
	var pv corev1.PersistentVolume
	err := p.cfg.Client.Get(ctx, client.ObjectKey{Name: pvc.Volume}, &pv)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read PersistentVolume %s: %w", pvc.Volume, err)
	}
	pvc.Reach = specs.ReachOf(&pv)
	return nil
}

func (p *Pools) readGuards(ctx context.Context, s *plan.State) error {
	var guards policyv1.PodDisruptionBudgetList
	if err := p.cfg.Client.List(ctx, &guards, client.InNamespace(s.Cluster.Namespace), client.MatchingLabels{specs.LabelAppName: specs.AppName, specs.LabelComponent: specs.ComponentHolder}); err != nil {
		return fmt.Errorf("list PodDisruptionBudgets: %w", err)
	}
	for _, g := range guards.Items {
		s.Guards = append(s.Guards, g.Name)
	}
	return nil
}

// readPods reads servers and holders, and asks the servers.
func (p *Pools) readPods(ctx context.Context, s *plan.State) (map[string]Status, error) {
	var pods corev1.PodList
	if err := p.cfg.Client.List(ctx, &pods, client.InNamespace(s.Cluster.Namespace), client.MatchingLabels{specs.LabelAppName: specs.AppName}); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var servers []corev1.Pod
	for _, pod := range pods.Items {
		if pod.Annotations[specs.AnnotationNodeName] == "" {
			continue // not the operator's: a static deployment's
		}
		switch pod.Labels[specs.LabelComponent] {
		case specs.ComponentHolder:
			s.Holders = append(s.Holders, podOf(pod))
		case specs.ComponentServer:
			servers = append(servers, pod)
		}
	}
	p.seen.ask(ctx, servers)
	statuses := map[string]Status{}
	for _, pod := range servers {
		server := plan.Server{Pod: podOf(pod)}
		if status, idleSince, ok := p.seen.last(pod.UID); ok {
			statuses[pod.Name] = status
			server.Report, server.IdleSince = &status.Report, idleSince
		}
		s.Servers = append(s.Servers, server)
	}
	return statuses, nil
}

func podOf(pod corev1.Pod) plan.Pod {
	generation, _ := strconv.ParseUint(pod.Annotations[specs.AnnotationGeneration], 10, 63)
	o := plan.Pod{
		Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		Node:       pod.Annotations[specs.AnnotationNodeName],
		PVC:        pod.Annotations[specs.AnnotationPVCName],
		Generation: generation,
		Spec:       pod.Annotations[specs.AnnotationSpec],
		Created:    pod.CreationTimestamp.Time,
		Finalizers: pod.Finalizers,
		Phase:      pod.Status.Phase,
		CannotPull: cannotPull(pod),
	}
	if pod.DeletionTimestamp != nil {
		o.Deleting, o.GoneBy = true, pod.DeletionTimestamp.Time
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			o.Ready, o.ReadySince = c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	// The label is written when the server has a pool, which is when it is ready.
	o.WasReady = o.Ready || pod.Labels[specs.LabelPool] != ""
	return o
}

func cannotPull(pod corev1.Pod) bool {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, c := range statuses {
			if c.State.Waiting == nil {
				continue
			}
			switch c.State.Waiting.Reason {
			case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError", "SignatureValidationFailed":
				return true
			}
		}
	}
	return false
}
