//go:build apiserver

package settings_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/settings"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// site is a namespace with Settings.
type site struct {
	*testing.T
	client    client.Client
	namespace string
	settings  *settings.Settings
	now       time.Time
	events    []string
	changes   int
	largest   int64 // pool in a file, once servers were asked
	asked     bool
}

func newSite(t *testing.T, c client.Client) *site {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "dotmesh-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, client: c, namespace: ns.Name, now: time.Now()}
	s.restart()
	return s
}

func (s *site) restart() { s.settings = newSettings(s, s.client) }

func newSettings(s *site, live client.Reader) *settings.Settings {
	return settings.New(settings.Config{
		Client: s.client, Live: live, Namespace: s.namespace, Events: s,
		LargestPool: func() (int64, bool) { return s.largest, s.asked },
		Changed:     func() { s.changes++ },
		Now:         func() time.Time { return s.now },
	})
}

func (s *site) Warning(on *corev1.ObjectReference, reason, note string) {
	s.events = append(s.events, fmt.Sprintf("Warning %s %s %s", reason, on.Name, note))
}

func (s *site) Normal(on *corev1.ObjectReference, reason, note string) {
	s.events = append(s.events, fmt.Sprintf("Normal %s %s %s", reason, on.Name, note))
}

func (s *site) reconcile() {
	s.Helper()
	if _, err := s.settings.Reconcile(s.Context(), reconcile.Request{}); err != nil {
		s.Fatal(err)
	}
}

// inForce is nil when nothing is.
func (s *site) inForce() (data map[string]string) {
	_ = s.settings.Use(s.Context(), func(c config.Config) error {
		data = c.Data()
		return nil
	})
	return data
}

func (s *site) get(name string) *corev1.ConfigMap {
	s.Helper()
	var cm corev1.ConfigMap
	if err := s.client.Get(s.Context(), client.ObjectKey{Namespace: s.namespace, Name: name}, &cm); err != nil {
		s.Fatal(err)
	}
	return &cm
}

func (s *site) user() *corev1.ConfigMap { return s.get(settings.Name) }
func (s *site) kept() *corev1.ConfigMap { return s.get(specs.SettingsName) }

// write puts the user's ConfigMap, as `kubectl replace` does.
func (s *site) write(data map[string]string) {
	s.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: settings.Name}, Data: data}
	err := s.client.Create(s.Context(), cm)
	if apierrors.IsAlreadyExists(err) {
		err = s.client.Update(s.Context(), cm)
	}
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) makePVC() *corev1.PersistentVolumeClaim {
	s.Helper()
	pvc := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, GenerateName: "pvc-", Labels: map[string]string{specs.LabelRole: specs.RolePool}},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	if err := s.client.Create(s.Context(), pvc); err != nil {
		s.Fatal(err)
	}
	s.resize(pvc, "10Gi")
	return pvc
}

// resize is what a resizer does in the end.
func (s *site) resize(pvc *corev1.PersistentVolumeClaim, to string) {
	s.Helper()
	pvc.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(to)}
	if err := s.client.Status().Update(s.Context(), pvc); err != nil {
		s.Fatal(err)
	}
}

func (s *site) deletePVC(pvc *corev1.PersistentVolumeClaim) {
	s.Helper()
	pvc.Finalizers = nil
	if err := s.client.Update(s.Context(), pvc); err != nil {
		s.Fatal(err)
	}
	if err := s.client.Delete(s.Context(), pvc); err != nil {
		s.Fatal(err)
	}
}

func (s *site) wantEvent(reason, part string) {
	s.Helper()
	if !slices.ContainsFunc(s.events, func(e string) bool {
		return strings.Fields(e)[1] == reason && strings.Contains(e, part)
	}) {
		s.Errorf("no Event %s tells %q; there are %q", reason, part, s.events)
	}
}

func (s *site) wantStatus(begin string, parts ...string) {
	s.Helper()
	status := s.user().Annotations[settings.StatusAnnotation]
	for _, part := range parts {
		if !strings.Contains(status, part) {
			s.Errorf("the status %q does not tell %q", status, part)
		}
	}
	if !strings.HasPrefix(status, begin) {
		s.Errorf("the status is %q, want %q", status, begin)
	}
}

func parse(t *testing.T, data map[string]string) config.Config {
	t.Helper()
	c, _, err := config.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// staleReader gives the ConfigMap of ours as it was.
type staleReader struct {
	client.Reader
	kept *corev1.ConfigMap
}

func (r *staleReader) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if r.kept != nil && key.Name == specs.SettingsName {
		r.kept.DeepCopyInto(obj.(*corev1.ConfigMap))
		return nil
	}
	return r.Reader.Get(ctx, key, obj, opts...)
}
