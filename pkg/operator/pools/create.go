package pools

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// create makes an object. If there is one of its name already, that may be the operator's,
// and not have been observed yet. One that is another's is told of, and never touched.
func (p *Pools) create(ctx context.Context, made client.Object) error {
	kind := made.GetObjectKind().GroupVersionKind()
	err := p.cfg.Client.Create(ctx, made)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	var found metav1.PartialObjectMetadataList
	found.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err := p.cfg.Live.List(ctx, &found, client.InNamespace(made.GetNamespace()), client.MatchingFields{"metadata.name": made.GetName()}); err != nil {
		return fmt.Errorf("look whose %s %s is: %w", kind.Kind, made.GetName(), err)
	}
	if len(found.Items) == 0 {
		return errMoved
	}
	there := &found.Items[0]
	marks := lacks(there, made)
	if len(marks) == 0 {
		return errMoved
	}
	text := strings.Join(marks, ", ")
	p.cfg.Events.Warning(specs.Reference(kind.GroupVersion().String(), kind.Kind, there),
		"NameTaken", fmt.Sprintf("The operator has to make a %s of this name, and cannot: this one lacks %s, so that it is taken for another's and left alone. Delete it; or, if it is the operator's own and somebody took that off, put it on again.", kind.Kind, text))
	return fmt.Errorf("there is a %s %s that is not the operator's: it lacks %s", kind.Kind, there.Name, text)
}

// lacks are the labels and annotations by which the operator observes what it has made, and
// which the object that has its name does not have.
func lacks(there, made metav1.Object) []string {
	labels := []string{specs.LabelAppName, specs.LabelComponent}
	if made.GetLabels()[specs.LabelRole] != "" { // a PVC, which may be made by hand
		labels = []string{specs.LabelRole}
	}
	var missing []string
	for _, key := range labels {
		if want := made.GetLabels()[key]; there.GetLabels()[key] != want {
			missing = append(missing, fmt.Sprintf("label %s=%s", key, want))
		}
	}
	for _, key := range []string{specs.AnnotationNodeName, specs.AnnotationPVCName} {
		if want := made.GetAnnotations()[key]; want != "" && there.GetAnnotations()[key] != want {
			missing = append(missing, fmt.Sprintf("annotation %s=%s", key, want))
		}
	}
	return missing
}
