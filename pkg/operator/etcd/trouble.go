package etcd

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// trouble tells a person what keeps a pod from being ready; "" where Kubernetes does not
// say.
func (o *observed) trouble(p *corev1.Pod, claim *corev1.PersistentVolumeClaim) string {
	on := o.nodes[p.Spec.NodeName]
	if ready, _ := readiness(p, on); ready {
		return ""
	}
	switch {
	case claim != nil && claim.Spec.VolumeName == "":
		return fmt.Sprintf("its PersistentVolumeClaim %s has no volume yet, of the StorageClass %q", claim.Name, classOf(claim))
	case p.Spec.NodeName == "":
		return "no node takes it"
	case on == nil:
		return fmt.Sprintf("its node %s is gone", p.Spec.NodeName)
	case !isReady(on):
		return fmt.Sprintf("its node %s is not ready", on.Name)
	}
	if c, found := waitsInVain(p); found {
		return fmt.Sprintf("its container %s, of the image %s, waits: %s", c.Name, c.Image, c.State.Waiting.Reason)
	}
	return ""
}

// waitsInVain finds a container whose image cannot be had, or does not run.
func waitsInVain(p *corev1.Pod) (container corev1.ContainerStatus, found bool) {
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && !starts(w.Reason) {
			return c, true
		}
	}
	return corev1.ContainerStatus{}, false
}

// starts tells whether a container that waits is only on its way.
func starts(reason string) bool {
	return slices.Contains([]string{"", "PodInitializing", "ContainerCreating"}, reason)
}
