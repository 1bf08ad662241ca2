package pools

import (
	"context"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// Rounds that fail are repeated after a second, and after up to half a minute.
const (
	retryFirst = time.Second
	retryMost  = 30 * time.Second
)

// SetupWithManager has mgr call Reconcile for every change of what a round
// observes, and for what comes over wake.
func (p *Pools) SetupWithManager(mgr ctrl.Manager, wake <-chan event.GenericEvent) error {
	one := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: p.cfg.Cluster.Namespace, Name: "pools"}}}
	})
	ours := builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetLabels()[specs.LabelAppName] == specs.AppName
	}))
	claims := builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetLabels()[specs.LabelRole] == specs.RolePool
	}))
	return ctrl.NewControllerManagedBy(mgr).Named("pools").
		Watches(&corev1.Node{}, one, builder.WithPredicates(nodeChanges())).
		Watches(&corev1.Pod{}, one, ours).
		Watches(&corev1.PersistentVolumeClaim{}, one, claims).
		Watches(&policyv1.PodDisruptionBudget{}, one, ours).
		Watches(&storagev1.VolumeAttachment{}, one).
		WatchesRawSource(source.Channel(wake, one)).
		WithOptions(controller.Options{
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryFirst, retryMost),
		}).
		Complete(p)
}

// nodeChanges leaves out heartbeats.
func nodeChanges() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*corev1.Node)
		after, same := e.ObjectNew.(*corev1.Node)
		if !ok || !same {
			return true
		}
		a, b := nodeOf(*before), nodeOf(*after)
		return a.Machine != b.Machine || !maps.Equal(a.Labels, b.Labels) || a.Cordoned != b.Cordoned || a.Ready != b.Ready || a.Deleting != b.Deleting ||
			!slices.EqualFunc(before.Spec.Taints, after.Spec.Taints, func(x, y corev1.Taint) bool { return x.MatchTaint(&y) })
	}}
}
