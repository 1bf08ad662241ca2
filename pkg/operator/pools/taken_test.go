//go:build apiserver

package pools_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// nameOfAServerIsTaken has an old dotmesh in the namespace, whose pods are called as ours.
func nameOfAServerIsTaken(t *testing.T, w *world) {
	w.addNode("a", "")
	old := &corev1.Pod{ObjectMeta: w.named(specs.LocalServerName("a")), Spec: corev1.PodSpec{
		ServiceAccountName: specs.ServiceAccount, Containers: []corev1.Container{{Name: "server", Image: "old"}}}}
	w.taken(old, "Pod", "plan.CreateServer")
	w.must(w.client.Delete(t.Context(), old, client.GracePeriodSeconds(0)))
	w.settle()
	w.wantServing(map[string][]string{"a": {""}})
}

// namesAreTaken has a PVC of ours that lost its label, and somebody's budget.
func namesAreTaken(t *testing.T, w *world) {
	w.addNode("a", "")
	cluster := specs.Cluster{Namespace: w.namespace}
	pvc := specs.PVC(cluster, w.config, specs.PVCName("a", w.node("a").UID, 0))
	pvc.Labels = nil
	w.taken(pvc, "PersistentVolumeClaim", "plan.CreatePVC")
	pvc.Labels = map[string]string{specs.LabelRole: specs.RolePool}
	w.must(w.client.Update(t.Context(), pvc))

	guard := specs.HolderBudget(cluster, specs.Holder{Node: "a", Claim: specs.Claim{PVC: pvc.Name}})
	guard.Labels = nil
	w.taken(guard, "PodDisruptionBudget", "plan.CreateGuard")
	w.must(w.client.Delete(t.Context(), &policyv1.PodDisruptionBudget{ObjectMeta: w.named(guard.Name)}))
	w.settle()
	w.wantServing(map[string][]string{"a": {pvc.Name}})
}

// taken makes an object whose name the operator needs, and wants it to say so, and not to
// touch it.
func (w *world) taken(o client.Object, kind, action string) {
	w.Helper()
	w.must(w.client.Create(w.Context(), o))
	version := o.GetResourceVersion()
	w.failed, w.events = nil, nil
	var err error
	for range 5 { // the steps before it
		if _, err = w.pools.Round(w.Context()); err != nil {
			break
		}
	}
	if err == nil || !slices.Equal(w.failed, []string{action}) {
		w.Errorf("%v is told, and %q failed; want that %s did", err, w.failed, action)
	}
	w.wantEvent(kind+" "+o.GetName(), "NameTaken")
	w.must(w.client.Get(w.Context(), client.ObjectKeyFromObject(o), o))
	if o.GetResourceVersion() != version {
		w.Errorf("%s %s was changed", kind, o.GetName())
	}
}
