//go:build apiserver

package operator_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// TestExternalEtcd gives the operator an etcd of the user's: servers wait for the
// certificate towards it, reach it, and of an etcd of the operator's own nothing is made.
func TestExternalEtcd(t *testing.T) {
	ctrl.SetLogger(klog.Background())
	s := install(t)
	theirs, err := pki.Bundle(pki.BundleConfig{Now: time.Now()})
	s.must(err)
	give := func(name string) {
		s.must(s.client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: theirs[name]}))
	}
	give(pki.SecretEtcdServer) // what an etcd of the operator's own would wait for
	give(pki.SecretEtcdPeer)
	s.run(operator.Config{
		Image:    image,
		Etcd:     []string{"https://one.example.com:2379", "https://two.example.com:2379"},
		Registry: prometheus.NewRegistry(),
	})
	s.addNode("a")
	s.apply("overlays/local/configmap.yaml")
	s.must(s.client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "dotmesh"},
		StringData: map[string]string{"dotmesh-api-key.txt": "key", "dotmesh-admin-password.txt": "password"},
	}))
	s.await("an Event that says which Secret is missing", func() bool {
		out, err := s.Kubectl(t.Context(), "-n", namespace, "get", "events")
		s.must(err)
		return strings.Contains(out, "SecretMissing") && strings.Contains(out, "Secret "+pki.SecretEtcdClient+" does not exist")
	})
	if s.has(&corev1.Pod{}, "server-a") {
		t.Error("a server was made without a certificate towards etcd")
	}
	give(pki.SecretEtcdClient)
	s.start("server-a")
	args := s.get(&corev1.Pod{}, "server-a").(*corev1.Pod).Spec.Containers[0].Args
	for _, want := range []string{"--etcd-endpoints=https://one.example.com:2379", "--etcd-endpoints=https://two.example.com:2379"} {
		if !slices.Contains(args, want) {
			t.Errorf("the server lacks %s: %v", want, args)
		}
	}
	if slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, "dotmesh-etcd-cluster") }) {
		t.Errorf("the server is told of an etcd of the operator's: %v", args)
	}
	for _, kind := range []client.Object{&appsv1.StatefulSet{}, &corev1.ConfigMap{}, &corev1.Service{}, &policyv1.PodDisruptionBudget{}} {
		if s.has(kind, "dotmesh-etcd-cluster") {
			t.Errorf("%T dotmesh-etcd-cluster was made", kind)
		}
	}
	if kept := s.get(&corev1.Secret{}, pki.SecretEtcdClient).(*corev1.Secret).Data; string(kept[pki.CertFile]) != string(theirs[pki.SecretEtcdClient][pki.CertFile]) {
		t.Error("the user's certificate was replaced")
	}
}
