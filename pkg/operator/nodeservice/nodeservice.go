// Package nodeservice keeps the DaemonSet of the CSI node service as the
// configuration wants it. Kubernetes rolls it out, another image only after the servers
// have come up with that.
package nodeservice

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

const (
	callTimeout = 30 * time.Second
	// again is when the DaemonSet is looked at without anything having happened.
	again = 5 * time.Minute
)

// Settings know the configuration in force, which stays until f returns.
type Settings interface {
	Use(ctx context.Context, f func(config.Config) error) error
}

// NodeService is the reconciler.
type NodeService struct {
	client        client.Client
	cluster       specs.Cluster
	settings      Settings
	serversCameUp func() bool
}

// New makes one; c may read from a cache. serversCameUp tells whether servers have come up
// with the image; whoever sees that wakes the reconciler.
func New(c client.Client, cluster specs.Cluster, settings Settings, serversCameUp func() bool) *NodeService {
	return &NodeService{c, cluster, settings, serversCameUp}
}

// SetupWithManager has mgr call Reconcile for changes of DaemonSets, and for what
// comes over wake.
func (n *NodeService) SetupWithManager(mgr ctrl.Manager, wake <-chan event.GenericEvent) error {
	one := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: n.cluster.Namespace, Name: specs.NodeDaemonSetName}}}
	})
	return ctrl.NewControllerManagedBy(mgr).Named("nodeservice").
		Watches(&appsv1.DaemonSet{}, one).
		WatchesRawSource(source.Channel(wake, one)).
		Complete(n)
}

// Reconcile makes the DaemonSet, or changes it.
func (n *NodeService) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	err := n.settings.Use(ctx, func(c config.Config) error {
		// Not before: one who changes the settings may have to wait for a round of the pools.
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		return n.apply(ctx, specs.NodeDaemonSet(n.cluster, c))
	})
	switch {
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		return reconcile.Result{RequeueAfter: time.Second}, nil
	case err != nil:
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: again}, nil
}

// apply compares by the hash of what we want, because the API server adds defaults.
func (n *NodeService) apply(ctx context.Context, want *appsv1.DaemonSet) error {
	var have appsv1.DaemonSet
	err := n.client.Get(ctx, client.ObjectKeyFromObject(want), &have)
	switch {
	case apierrors.IsNotFound(err):
		err = n.client.Create(ctx, want)
	case err != nil:
		return fmt.Errorf("read DaemonSet %s: %w", want.Name, err)
	case have.Annotations[specs.AnnotationSpec] == want.Annotations[specs.AnnotationSpec]:
		return nil
	case imageOf(&have) != imageOf(want) && !n.serversCameUp():
		klog.FromContext(ctx).Info("the node service stays as it is until servers have come up with the new image", "image", imageOf(want))
		return nil
	default:
		want.ResourceVersion = have.ResourceVersion
		err = n.client.Update(ctx, want)
	}
	if err != nil {
		return fmt.Errorf("write DaemonSet %s: %w", want.Name, err)
	}
	return nil
}

func imageOf(set *appsv1.DaemonSet) string { return set.Spec.Template.Spec.Containers[0].Image }
