package etcd

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/certs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// nextTemplate is what pods are to be made of. Until the servers have come up with another
// image it is held: it stays the last one, with the images and all that belongs to them, but
// for where pods may be and which CA they believe. So neither a drain nor a restart gives a
// member that is well an image that may not run. Nothing is held before etcd has answered once,
// nor where a member cannot run with the last images: it may with the next.
func (o *observed) nextTemplate(serversCameUp bool) (template corev1.PodTemplateSpec, held bool) {
	next := o.spec.StatefulSet().Spec.Template
	began := o.state.Begun != nil && o.state.Begun.Existing
	if o.last == nil || serversCameUp || !began || o.anyCannotRun() || slices.Equal(images(o.last.Spec.Template.Spec), images(next.Spec)) {
		return next, false
	}
	last := *o.last.Spec.Template.DeepCopy()
	last.Spec.Affinity = next.Spec.Affinity
	if trust := next.Annotations[certs.TrustAnnotation]; last.Annotations[certs.TrustAnnotation] != trust {
		last.Annotations[certs.TrustAnnotation] = trust
		last.Annotations[specs.AnnotationSpec] = specHash(last)
	}
	return last, true
}

// anyCannotRun tells whether a node that is well has tried for long to run a pod, and could
// not. One whose volume is being attached, or that joins, has not been tried so.
func (o *observed) anyCannotRun() bool {
	for _, pod := range o.state.Pods {
		if pod.InVain && pod.Stuck && !pod.Away {
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
