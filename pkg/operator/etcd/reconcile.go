package etcd

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/certs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

const (
	callTimeout = 30 * time.Second
	// soon is after a step, later while there is nothing to do: etcd tells nobody
	// how its members are.
	soon, later = time.Second, 10 * time.Second
)

// Cluster is etcd as its members tell it.
type Cluster interface {
	List(ctx context.Context) ([]members.Member, error)
	AddLearner(ctx context.Context, peerURL string) error
	Promote(ctx context.Context, id members.ID) error
	Remove(ctx context.Context, id members.ID) error
	Close()
}

// Events tells people of an object.
type Events interface {
	Warning(on *corev1.ObjectReference, reason, note string)
}

// Reconciler runs etcd. An etcd that is not ours has none.
type Reconciler struct {
	Client client.Client
	Events Events
	// Spec but for its Class, Nodes and Trust.
	Spec Spec
	// Config gives the configuration that holds; false while there is none.
	Config func(context.Context) (config.Config, bool, error)
	// ServersCameUp tells whether servers have come up with the image. Until then members
	// keep theirs, unless one cannot run with it.
	ServersCameUp func() bool
	// Connect is for tests; nil for the members themselves.
	Connect func(*tls.Config) (Cluster, error)
	Now     func() time.Time

	// Metrics are told how etcd is.
	Metrics *Metrics

	// well is when all members were seen to be last, or when the first look was.
	well time.Time
	// joining is since when each container that joins was seen to run, by its id: the
	// clocks of nodes may be wrong.
	joining map[string]time.Time
}

// SetupWithManager has the manager call it when anything of etcd's changes, and
// every ten seconds.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	one := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{}}
	})
	b := ctrl.NewControllerManagedBy(mgr).Named("etcd")
	for _, kind := range []client.Object{&appsv1.StatefulSet{}, &corev1.ConfigMap{}, &corev1.Secret{}, &corev1.Pod{}, &corev1.PersistentVolumeClaim{}, &corev1.PersistentVolume{}} {
		b = b.Watches(kind, one)
	}
	return b.Complete(r)
}

// Reconcile takes one step.
func (r *Reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	cfg, known, err := r.Config(ctx)
	if err != nil || !known {
		return reconcile.Result{RequeueAfter: later}, err
	}
	o, cluster, err := r.look(ctx, cfg)
	if err != nil {
		r.Metrics.unasked()
		return reconcile.Result{}, err
	}
	if cluster == nil {
		return reconcile.Result{RequeueAfter: later}, nil // the certificates come first
	}
	defer cluster.Close()
	step := Next(o.state)
	if step.Do == Wait {
		r.tell(ctx, o, step)
		return reconcile.Result{RequeueAfter: later}, nil
	}
	klog.FromContext(ctx).Info("etcd changes", "step", step.Do, "member", podName(step.Ordinal), "node", step.Node)
	err = r.take(ctx, o, cluster, step)
	switch dot.CodeOf(err) {
	case dot.CodePrecondition, dot.CodeAborted, dot.CodeUnavailable: // etcd wants to be asked again
		klog.FromContext(ctx).Info("etcd does not change yet", "step", step.Do, "reason", err.Error())
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("%s of etcd's %s: %w", step.Do, podName(step.Ordinal), err)
	}
	return reconcile.Result{RequeueAfter: soon}, nil
}

// look keeps the objects as they should be, and tells what there is. There is no Cluster
// to ask before there are certificates.
func (r *Reconciler) look(ctx context.Context, cfg config.Config) (*observed, Cluster, error) {
	o, err := r.observe(ctx, cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("look at etcd: %w", err)
	}
	if o.spec.Trust == "" {
		return o, nil, nil
	}
	if err := r.ensure(ctx, o); err != nil {
		return nil, nil, fmt.Errorf("make etcd's objects: %w", err)
	}
	cluster, err := r.ask(ctx, o)
	return o, cluster, err
}

// ask adds to what is observed what etcd says of itself.
func (r *Reconciler) ask(ctx context.Context, o *observed) (Cluster, error) {
	connect := r.Connect
	if connect == nil {
		connect = func(cfg *tls.Config) (Cluster, error) {
			return members.Open(members.Config{Endpoints: Endpoints(r.Spec.Namespace), TLS: cfg})
		}
	}
	cfg, err := certs.ClientTLS(ctx, r.Client, r.Spec.Namespace, pki.SecretEtcdClient)
	if err != nil {
		return nil, err
	}
	cluster, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	o.state.Members, err = cluster.List(ctx)
	o.state.Answers = err == nil
	if err != nil {
		klog.FromContext(ctx).V(2).Info("etcd does not answer", "reason", err.Error())
	}
	now := r.Now()
	if r.well.IsZero() || o.state.Answers && len(o.state.unwell()) == 0 {
		r.well = now
	}
	o.state.Ill = now.Sub(r.well) > stuckAfter
	r.Metrics.observed(o.state)
	return cluster, nil
}

// tell puts what keeps etcd from being as it should on the StatefulSet.
func (r *Reconciler) tell(ctx context.Context, o *observed, step Step) {
	if step.Why == "" || o.set == nil {
		return
	}
	klog.FromContext(ctx).Info("etcd waits", "reason", step.Why)
	if step.Act {
		r.Events.Warning(specs.Reference("apps/v1", "StatefulSet", o.set), "EtcdWaits", step.Why)
	}
}

// ensure makes the objects that are not steps.
func (r *Reconciler) ensure(ctx context.Context, o *observed) error {
	for _, service := range o.spec.Services() {
		if err := r.keep(ctx, service, &corev1.Service{}, func(found client.Object) {
			found.(*corev1.Service).Spec.Ports, found.(*corev1.Service).Spec.Selector = service.Spec.Ports, service.Spec.Selector
		}); err != nil {
			return err
		}
	}
	budget := o.spec.Budget()
	if err := r.keep(ctx, budget, &policyv1.PodDisruptionBudget{}, func(found client.Object) {
		found.(*policyv1.PodDisruptionBudget).Spec = budget.Spec
	}); err != nil {
		return err
	}
	set := o.spec.StatefulSet()
	set.Spec.Template = o.template
	o.state.needed().of(set) // fewer would end pods that it adopts
	o.set = &appsv1.StatefulSet{}
	err := r.keep(ctx, set, o.set, func(found client.Object) {
		found.(*appsv1.StatefulSet).Spec.Template = set.Spec.Template
	})
	if o.set.Name == "" {
		o.set = set
	}
	o.state.Kept = ordinalsKept(o.set)
	return err
}

// keep makes an object, or has update change what is there where it was built
// otherwise. found becomes what there was.
func (r *Reconciler) keep(ctx context.Context, built, found client.Object, update func(found client.Object)) error {
	annotations := map[string]string{specs.AnnotationSpec: specHash(built)}
	for k, v := range built.GetAnnotations() {
		annotations[k] = v
	}
	built.SetAnnotations(annotations)
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(built), found)
	if apierrors.IsNotFound(err) {
		return r.Client.Create(ctx, built)
	}
	if err != nil || found.GetAnnotations()[specs.AnnotationSpec] == annotations[specs.AnnotationSpec] {
		return err
	}
	all := found.GetAnnotations()
	if all == nil {
		all = map[string]string{}
	}
	all[specs.AnnotationSpec] = annotations[specs.AnnotationSpec]
	found.SetAnnotations(all)
	update(found)
	return r.Client.Update(ctx, found)
}
