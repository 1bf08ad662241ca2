package certs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

const (
	// TrustAnnotation of a pod is the TrustHash of the ca.crt that it was started
	// with. Pods that read theirs only then carry it.
	TrustAnnotation = "dotmesh.io/trust"

	changedAnnotation = "dotmesh.io/changed"
	callTimeout       = 30 * time.Second
	mostWait          = 12 * time.Hour // a clock that is set ahead is noticed
)

// Events tells people of an object.
type Events interface {
	Warning(on *corev1.ObjectReference, reason, note string)
}

// Reconciler keeps the Secrets.
type Reconciler struct {
	Client    client.Client
	Events    Events
	Namespace string
	// Extra are names and addresses that people and other clusters reach the API
	// by, beside those of every node.
	Extra pki.Names
	// ExternalEtcd tells that etcd, and the certificate towards it in the Secret
	// dotmesh-etcd-client, are the user's.
	ExternalEtcd bool
	// Now is the clock.
	Now func() time.Time
}

// SetupWithManager has the manager call it whenever a Secret, a pod of etcd or a node
// changes, and when a certificate is to be renewed.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	one := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{}}
	})
	return ctrl.NewControllerManagedBy(mgr).Named("certificates").
		Watches(&corev1.Secret{}, one).
		Watches(&corev1.Pod{}, one).
		Watches(&corev1.Node{}, one).
		Complete(r)
}

// Reconcile does what Next plans.
func (r *Reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	state, resources, err := r.observe(ctx)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("look at the certificates: %w", err)
	}
	plan, err := Next(state)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("make certificates: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(plan.Write)) {
		if err := r.write(ctx, name, resources[name], plan.Write[name], state.Now); err != nil {
			return reconcile.Result{}, fmt.Errorf("write the Secret %s: %w", name, err)
		}
		klog.FromContext(ctx).Info("certificates were written", "secret", name)
	}
	if err := r.tell(ctx, plan); err != nil {
		return reconcile.Result{}, err
	}
	// What was written comes back as a change, for the next step.
	wait := mostWait
	if !plan.Again.IsZero() {
		wait = min(max(plan.Again.Sub(state.Now), time.Second), mostWait)
	}
	return reconcile.Result{RequeueAfter: wait}, nil
}

// observe reads what Next wants to know, and gives the Secrets themselves.
func (r *Reconciler) observe(ctx context.Context) (State, map[string]*corev1.Secret, error) {
	names, err := r.names(ctx)
	if err != nil {
		return State{}, nil, err
	}
	s := State{Now: r.Now(), Bundle: pki.BundleConfig{Namespace: r.Namespace, Extra: names}, ExternalEtcd: r.ExternalEtcd, Secrets: map[string]Secret{}}
	resources := map[string]*corev1.Secret{}
	for _, name := range append(s.leafSecrets(), pki.SecretCA, pki.SecretCACert) {
		found := &corev1.Secret{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: name}, found)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return State{}, nil, err
		}
		resources[name] = found
		s.Secrets[name] = Secret{Data: found.Data, Ours: found.Labels[specs.LabelManagedBy] == specs.ManagedBy, Changed: changed(found)}
	}
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(r.Namespace)); err != nil {
		return State{}, nil, err
	}
	s.EtcdTrusts = func(ca []byte) bool {
		return !slices.ContainsFunc(pods.Items, func(pod corev1.Pod) bool {
			hash, reads := pod.Annotations[TrustAnnotation]
			return reads && hash != TrustHash(ca)
		})
	}
	return s, resources, nil
}

// names are Extra, and the names and addresses of every node.
func (r *Reconciler) names(ctx context.Context) (pki.Names, error) {
	var nodes corev1.NodeList
	if err := r.Client.List(ctx, &nodes); err != nil {
		return pki.Names{}, err
	}
	var hosts []string
	for _, node := range nodes.Items {
		for _, address := range node.Status.Addresses {
			hosts = append(hosts, address.Address)
		}
	}
	of := pki.NamesOf(hosts)
	dns := slices.Concat(r.Extra.DNS, of.DNS)
	slices.Sort(dns)
	return pki.Names{DNS: slices.Compact(dns), IPs: slices.Concat(r.Extra.IPs, of.IPs)}, nil
}

// changed is when we last wrote a Secret.
func changed(s *corev1.Secret) time.Time {
	if at, err := time.Parse(time.RFC3339, s.Annotations[changedAnnotation]); err == nil {
		return at
	}
	return s.CreationTimestamp.Time
}

// write makes the Secret, or changes it if nobody else has meanwhile.
func (r *Reconciler) write(ctx context.Context, name string, found *corev1.Secret, files map[string][]byte, now time.Time) error {
	if found == nil {
		made := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name}, Type: corev1.SecretTypeOpaque}
		if files[pki.CertFile] != nil {
			made.Type = corev1.SecretTypeTLS
		}
		fill(made, files, now)
		return r.Client.Create(ctx, made)
	}
	found = found.DeepCopy()
	fill(found, files, now)
	return r.Client.Update(ctx, found)
}

func fill(s *corev1.Secret, files map[string][]byte, now time.Time) {
	metav1.SetMetaDataLabel(&s.ObjectMeta, specs.LabelManagedBy, specs.ManagedBy)
	metav1.SetMetaDataLabel(&s.ObjectMeta, "app.kubernetes.io/name", "dotmesh")
	metav1.SetMetaDataAnnotation(&s.ObjectMeta, changedAnnotation, now.UTC().Format(time.RFC3339))
	s.Data = files
}

// TrustHash names the content of a ca.crt.
func TrustHash(ca []byte) string {
	sum := sha256.Sum256(ca)
	return hex.EncodeToString(sum[:8])
}
