package specs

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// Reach says on which nodes a PersistentVolume can be used. The zero Reach has all.
type Reach struct {
	// Zone is the volume's label of the zone, "" without one; of several, "__" is between.
	Zone string
	// Affinity is the volume's required node affinity; nil: any node.
	Affinity *corev1.NodeSelector
}

// ReachOf reads it from a volume.
func ReachOf(v *corev1.PersistentVolume) Reach {
	r := Reach{Zone: v.Labels[corev1.LabelTopologyZone]}
	if v.Spec.NodeAffinity != nil {
		r.Affinity = v.Spec.NodeAffinity.Required
	}
	return r
}

// Includes tells whether a node with these labels can have the volume. An affinity that makes no
// sense lets none have it.
func (r Reach) Includes(node string, labels map[string]string) bool {
	if r.Zone != "" && !slices.Contains(strings.Split(r.Zone, "__"), labels[corev1.LabelTopologyZone]) {
		return false
	}
	if r.Affinity == nil {
		return true
	}
	fits, err := nodeaffinity.NewLazyErrorNodeSelector(r.Affinity).Match(&corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node, Labels: labels},
	})
	return fits && err == nil
}
