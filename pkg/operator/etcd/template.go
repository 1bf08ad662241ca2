package etcd

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/certs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// nextTemplate is what pods are to be made of. Until the servers have come up with another
// image it is the last one, with the images and all that belongs to them, but for where pods
// may be and which CA they believe: neither a drain nor a restart gives a member that is well
// an image that may not run. A broken one may be mended by it.
func (o *observed) nextTemplate(serversCameUp bool) corev1.PodTemplateSpec {
	next := o.spec.StatefulSet().Spec.Template
	if o.last == nil || serversCameUp || o.anyBrokenOnReadyNode() || slices.Equal(images(o.last.Spec.Template.Spec), images(next.Spec)) {
		return next
	}
	last := *o.last.Spec.Template.DeepCopy()
	last.Spec.Affinity = next.Spec.Affinity
	if trust := next.Annotations[certs.TrustAnnotation]; last.Annotations[certs.TrustAnnotation] != trust {
		last.Annotations[certs.TrustAnnotation] = trust
		last.Annotations[specs.AnnotationSpec] = specHash(last)
	}
	return last
}

// anyBrokenOnReadyNode tells whether a pod is broken that its node could run.
func (o *observed) anyBrokenOnReadyNode() bool {
	for ordinal, p := range o.pods {
		if on := o.nodes[p.Spec.NodeName]; o.state.Pods[ordinal].Broken && on != nil && isReady(on) {
			return true
		}
	}
	return false
}

// images are those of a pod's containers, in their order.
func images(pod corev1.PodSpec) []string {
	var all []string
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		all = append(all, c.Image)
	}
	return all
}
