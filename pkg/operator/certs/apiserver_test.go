//go:build apiserver

package certs

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
	"github.com/dotmesh-io/dotmesh-csi/test/apiserver"
)

// bench is a reconciler on a real API server, called by hand.
type bench struct {
	*Reconciler
	t      *testing.T
	events told
}

// told are Events.
type told chan string

func (t told) Warning(on *corev1.ObjectReference, reason, note string) {
	t <- fmt.Sprintf("%s %s %s: %s", on.Kind, on.Name, reason, note)
}

func newBench(t *testing.T, s *apiserver.Server, namespace string) bench {
	t.Helper()
	c, err := client.New(s.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	told := make(told, 100)
	b := bench{&Reconciler{Client: c, Events: told, Namespace: namespace, Now: time.Now}, t, told}
	b.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	b.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: userConfig}})
	return b
}

func (b bench) create(o client.Object) {
	b.t.Helper()
	if err := b.Client.Create(b.t.Context(), o); err != nil {
		b.t.Fatal(err)
	}
}

func (b bench) reconcile() {
	b.t.Helper()
	for range 3 {
		if _, err := b.Reconcile(b.t.Context(), reconcile.Request{}); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b bench) secret(name string) corev1.Secret {
	b.t.Helper()
	found, err := b.get(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

func (b bench) missing() string {
	b.t.Helper()
	text, err := b.Missing(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

func TestAPIServer(t *testing.T) {
	s := apiserver.Start(t)
	for what, test := range map[string]func(*testing.T, *apiserver.Server){
		"made, kept, made again":                 madeAndKept,
		"the Secret that only the user can make": onlyTheUser,
		"two operators at once":                  twoOperators,
		"a clock that was ahead":                 clockWasAhead,
		"a manager calls it":                     managed,
	} {
		t.Run(what, func(t *testing.T) { test(t, s) })
	}
}

func madeAndKept(t *testing.T, s *apiserver.Server) {
	b := newBench(t, s, "made")
	b.reconcile()
	first := b.secret(pki.SecretServerTLS)
	if first.Type != corev1.SecretTypeTLS || first.Labels[specs.LabelManagedBy] != specs.ManagedBy || len(first.Data) != 3 {
		t.Errorf("got %s, %v", first.Type, first.Labels)
	}
	b.reconcile()
	if again := b.secret(pki.SecretServerTLS); again.ResourceVersion != first.ResourceVersion {
		t.Error("it was written again for nothing")
	}
	if err := b.Client.Delete(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	b.reconcile()
	if again := b.secret(pki.SecretServerTLS); bytes.Equal(again.Data[pki.CertFile], first.Data[pki.CertFile]) || !bytes.Equal(again.Data[pki.CAFile], first.Data[pki.CAFile]) {
		t.Error("not another of the same CA")
	}
	b.Now = func() time.Time { return time.Now().Add(pki.LeafValidity * 3 / 4) }
	b.reconcile()
	if renewed := b.secret(pki.SecretEtcdPeer); len(renewed.Data) != 3 || renewed.Labels[specs.LabelManagedBy] != specs.ManagedBy {
		t.Errorf("renewed: got %v", renewed.Labels)
	}
	if _, err := ClientTLS(t.Context(), b.Client, b.Namespace, pki.SecretOperatorClient); err != nil {
		t.Error(err)
	}
}

func onlyTheUser(t *testing.T, s *apiserver.Server) {
	b := newBench(t, s, "missing")
	b.reconcile()
	want := "kubectl -n missing create secret generic dotmesh"
	if got := b.missing(); !strings.Contains(got, want) {
		t.Errorf("got %q", got)
	}
	if got := <-b.events; !strings.Contains(got, "SecretMissing") || !strings.Contains(got, want) {
		t.Errorf("got the Event %q", got)
	}
	user := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "missing", Name: userSecret}, StringData: map[string]string{apiKeyFile: "key\n", passwordFile: "\n"}}
	b.create(user)
	if got := b.missing(); !strings.Contains(got, passwordFile) || strings.Contains(got, "lacks "+apiKeyFile) {
		t.Errorf("with an empty password: got %q", got)
	}
	user.StringData = map[string]string{passwordFile: "password"}
	if err := b.Client.Update(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	if got := b.missing(); got != "" {
		t.Errorf("with all: got %q", got)
	}
	b.ExternalEtcd = true
	if err := b.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "missing", Name: pki.SecretEtcdClient}}); err != nil {
		t.Fatal(err)
	}
	if got := b.missing(); !strings.Contains(got, "your etcd") {
		t.Errorf("without a certificate for the user's etcd: got %q", got)
	}
}

func clockWasAhead(t *testing.T, s *apiserver.Server) {
	b := newBench(t, s, "ahead")
	b.reconcile()
	b.Now = func() time.Time { return time.Now().Add(7 * 365 * 24 * time.Hour) }
	b.reconcile()
	b.Now = time.Now
	b.reconcile()
	for _, name := range leaves {
		cert, ca, err := pair(b.secret(name).Data)
		if now := time.Now(); err != nil || now.Before(cert.NotBefore) || now.Before(ca.NotBefore) {
			t.Errorf("%s is not valid yet (%v)", name, err)
		}
	}
	told := ""
	for len(b.events) > 0 {
		told += <-b.events + "\n"
	}
	for _, secret := range []string{pki.SecretCA, pki.SecretServerTLS} {
		if !strings.Contains(told, "NotYetValid: the certificate in the Secret "+secret+" ") {
			t.Errorf("nobody is told of %s: %s", secret, told)
		}
	}
}

func twoOperators(t *testing.T, s *apiserver.Server) {
	b := newBench(t, s, "two")
	done := make(chan error)
	for range 2 {
		go func() {
			var last error
			for range 10 {
				_, last = b.Reconcile(t.Context(), reconcile.Request{})
				if last != nil && !apierrors.IsAlreadyExists(last) && !apierrors.IsConflict(last) {
					break
				}
			}
			done <- last
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	ca := b.secret(pki.SecretCA).Data[pki.CAFile]
	for _, name := range leaves {
		if got := b.secret(name).Data[pki.CAFile]; !bytes.Equal(got, ca) {
			t.Errorf("%s believes another CA", name)
		}
	}
}

func managed(t *testing.T, s *apiserver.Server) {
	b := newBench(t, s, "managed")
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "one"}}
	b.create(node)
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}, {Type: corev1.NodeHostName, Address: "one"}}
	if err := b.Client.Status().Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(s.Config, ctrl.Options{Metrics: metricsserver.Options{BindAddress: "0"}})
	if err != nil {
		t.Fatal(err)
	}
	b.Client = mgr.GetClient()
	if err := b.SetupWithManager(mgr); err != nil {
		t.Fatal(err)
	}
	go func() { _ = mgr.Start(t.Context()) }()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		found, err := b.get(t.Context(), pki.SecretServerTLS)
		if err == nil {
			certs, err := pki.ParseCerts(found.Data[pki.CertFile])
			if err != nil || certs[0].VerifyHostname("192.0.2.1") != nil || certs[0].VerifyHostname("one") != nil {
				t.Errorf("the node's addresses are not in the certificate (%v)", err)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nothing was made: %v", err)
		}
	}
}
