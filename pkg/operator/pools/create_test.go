package pools

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// TestWhatIsNotOurs: what is not observed would be made again and again.
func TestWhatIsNotOurs(t *testing.T) {
	c, _, err := config.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	var (
		cluster = specs.Cluster{Namespace: "dotmesh"}
		pod     = specs.ServerPod(cluster, c, specs.Server{Node: "n1"})
		server  = specs.ServerPod(cluster, c, specs.Server{Node: "n1", Claim: &specs.Claim{PVC: "pvc-1"}})
		pvc     = specs.PVC(cluster, c, "pvc-1")
		guard   = specs.HolderBudget(cluster, specs.Holder{Node: "n1", Claim: specs.Claim{PVC: "pvc-1"}})
		other   = &metav1.ObjectMeta{Labels: map[string]string{specs.LabelAppName: "other"}}
		static  = &metav1.ObjectMeta{Labels: map[string]string{specs.LabelAppName: specs.AppName, specs.LabelComponent: specs.ComponentServer}}
		byHand  = &metav1.ObjectMeta{Labels: map[string]string{specs.LabelRole: specs.RolePool}}
	)
	unmarked := server.DeepCopy()
	delete(unmarked.Annotations, specs.AnnotationPVCName)
	for name, tt := range map[string]struct {
		there, made metav1.Object
		want        []string
	}{
		"a pod of ours":        {pod, pod, nil},
		"a budget of ours":     {guard, guard, nil},
		"a PVC of ours":        {pvc, pvc, nil},
		"a PVC made by hand":   {byHand, pvc, nil},
		"one of no PVC's":      {unmarked, server, []string{"annotation dotmesh.io/pvc-name=pvc-1"}},
		"another's pod":        {other, pod, []string{"label app.kubernetes.io/name=dotmesh", "label app.kubernetes.io/component=server", "annotation dotmesh.io/node-name=n1"}},
		"a static server":      {static, pod, []string{"annotation dotmesh.io/node-name=n1"}},
		"another's budget":     {other, guard, []string{"label app.kubernetes.io/name=dotmesh", "label app.kubernetes.io/component=holder"}},
		"one without a label":  {&metav1.ObjectMeta{}, pvc, []string{"label dotmesh.io/role=pool"}},
		"a holder in its name": {specs.HolderPod(cluster, specs.Holder{Node: "n1"}), pod, []string{"label app.kubernetes.io/component=server"}},
	} {
		if got := lacks(tt.there, tt.made); !slices.Equal(got, tt.want) {
			t.Errorf("%s lacks %q, want %q", name, got, tt.want)
		}
	}
}
