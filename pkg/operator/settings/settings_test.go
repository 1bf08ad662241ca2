//go:build apiserver

package settings_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/settings"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/test/apiserver"
)

// TestSettings has all its cases on one API server, each in its own namespace.
func TestSettings(t *testing.T) {
	server := apiserver.Start(t)
	c, err := client.New(server.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func(*testing.T, *site){
		"Rows":                rows,
		"NothingHalfTaken":    nothingHalfTaken,
		"Malformed":           malformed,
		"Missing":             missing,
		"Restarted":           restarted,
		"Damaged":             damaged,
		"NewerKeys":           newerKeys,
		"TwoOperators":        twoOperators,
		"StatusIsWrittenOnce": statusIsWrittenOnce,
		"UseHolds":            useHolds,
		"Deleted":             deleted,
		"NewerVersion":        newerVersion,
		"Recover":             recovers,
		"BinaryData":          binaryData,
		"OwnStorageClass":     ownStorageClass,
		"SizesGoBack":         sizesGoBack,
		"LabelledNode":        labelledNode,
		"PathsOfBefore":       pathsOfBefore,
	} {
		t.Run(name, func(t *testing.T) { run(t, newSite(t, c)) })
	}
}

// deleted: the ConfigMap that owns the servers stays until there is no pool.
func deleted(t *testing.T, s *site) {
	s.write(nil)
	s.reconcile()
	pvc := s.makePVC()
	if err := s.client.Delete(t.Context(), s.kept()); err != nil {
		t.Fatal(err)
	}
	s.reconcile()
	if s.kept().DeletionTimestamp == nil {
		t.Error("it was not deleted")
	}
	s.wantEvent("ServersDependOnIt", "stays while there are pools")
	s.deletePVC(pvc)
	s.reconcile()
	var gone corev1.ConfigMap
	if err := s.client.Get(t.Context(), client.ObjectKey{Namespace: s.namespace, Name: specs.SettingsName}, &gone); !apierrors.IsNotFound(err) {
		t.Errorf("without a pool: %v", err)
	}
	s.reconcile()
	if s.kept().DeletionTimestamp != nil {
		t.Error("it was not made anew")
	}
}

// recovers: that leave to recover is on is told until it is off.
func recovers(t *testing.T, s *site) {
	const told = "set it back to \"false\" once all servers are ready"
	s.write(map[string]string{"recover": "true"})
	s.reconcile()
	if got := s.kept().Data["recover"]; got != "true" {
		t.Errorf("servers read %q", got)
	}
	s.wantStatus("ok, since ", told)
	s.wantEvent("ConfigurationWarning", told)
	s.write(map[string]string{"recover": "true", "replicas": "no"})
	s.reconcile()
	s.wantStatus("refused, since ", told)
	s.write(map[string]string{"recover": "false"})
	s.events = nil
	s.reconcile()
	if got, status := s.kept().Data["recover"], s.user().Annotations[settings.StatusAnnotation]; got != "false" || strings.Contains(status, told) {
		t.Errorf("servers read %q, and the status is %q", got, status)
	}
	if slices.ContainsFunc(s.events, func(e string) bool { return strings.Contains(e, told) }) {
		t.Errorf("Events still tell: %q", s.events)
	}
}

// newerVersion is beside the configuration, and no part of it.
func newerVersion(t *testing.T, s *site) {
	if err := s.settings.SetNewerVersion(t.Context(), "1.3.0"); err == nil {
		t.Error("told before there is a configuration")
	}
	s.write(nil)
	s.reconcile()
	for _, version := range []string{"1.3.0", ""} {
		if err := s.settings.SetNewerVersion(t.Context(), version); err != nil {
			t.Fatal(err)
		}
		s.reconcile()
		if got := s.kept().Data["newerVersion"]; got != version {
			t.Errorf("servers read %q, want %q", got, version)
		}
	}
	s.wantEvent("NewerVersion", "1.3.0")
}

// rows are those of the table in docs/configuration.md: a key, its change, and whether that is
// taken while pools exist. What is taken says what it does.
func rows(t *testing.T, s *site) {
	const refused = ""
	for _, c := range []struct{ key, from, to, effect string }{
		{"storageMode", "local", "pvcPerNode", refused},
		{"poolName", "pool", "tank", refused},
		{"local.poolLocation", "/var/lib/dotmesh", "/mnt", refused},
		{"pvcPerNode.storageClass", "standard", "fast", "takes effect on new PVCs only"},
		{"pvcPerNode.volumeMode", "Block", "Filesystem", "takes effect on new PVCs only"},
		{"local.poolSizePerNode", "10G", "11G", "pools grow online"},
		{"local.poolSizePerNode", "10G", "9G", refused},
		{"pvcPerNode.pvSizePerNode", "10G", "11G", "pools grow online"},
		{"pvcPerNode.pvSizePerNode", "10G", "9G", refused},
		{"kubeletDir", "/var/lib/kubelet", "/data/kubelet", "rolls out, one node at a time"},
		{"nodeSelector", "", "disk=ssd", "takes effect at once"},
		{"upgradesUrl", "", "https://a.example/", "takes effect at once"},
		{"upgradesIntervalSeconds", "14400", "3600", "takes effect at once"},
		{"logAddress", "", "tcp://logs:601", "takes effect at once"},
		{"replicas", "2", "all", "takes effect at once"},
		{"syncInterval", "60s", "30s", "takes effect at once"},
		{"failoverAfter", "180s", "10m", "takes effect at once"},
		{"recover", "false", "true", "takes effect at once"},
		{"recover", "true", "false", "takes effect at once"},
	} {
		for _, pools := range []bool{false, true} {
			if !pools && c.effect != refused {
				continue // no other than with pools
			}
			t.Run(fmt.Sprintf("%s=%s,pools=%v", c.key, strings.ReplaceAll(c.to, "/", "_"), pools), func(t *testing.T) {
				s := newSite(t, s.client)
				s.write(map[string]string{c.key: c.from})
				s.reconcile()
				if pools {
					s.makePVC()
				}
				from, changes := s.inForce()[c.key], s.changes
				s.write(map[string]string{c.key: c.to})
				s.reconcile()
				if pools && c.effect == refused {
					if got := s.inForce()[c.key]; got != from || s.changes != changes {
						t.Errorf("%q is in force, want %q", got, from)
					}
					for _, part := range []string{c.key + ": cannot", "make a new cluster", "pull the dots across"} {
						s.wantEvent("ConfigurationRefused", part)
						s.wantStatus("refused, since ", part, "The last good values hold")
					}
					return
				}
				want := parse(t, map[string]string{c.key: c.to}).Data()[c.key]
				if got := s.inForce()[c.key]; got != want || s.changes != changes+1 || len(s.settings.Refused()) > 0 {
					t.Errorf("%q is in force, want %q; refused: %v", got, want, s.settings.Refused())
				}
				s.wantEvent("ConfigurationChanged", c.key+": ")
				if pools {
					s.wantEvent("ConfigurationChanged", c.effect)
				}
				s.wantStatus("ok, since ")
			})
		}
	}
}

func nothingHalfTaken(t *testing.T, s *site) {
	s.write(map[string]string{"replicas": "2"})
	s.reconcile()
	before := s.inForce()
	s.write(map[string]string{"replicas": "3", "storageMode": "cloud", "local.poolSizePerNode": "much", "nodeselector": "x"})
	s.reconcile()
	if !maps.Equal(s.inForce(), before) || !maps.Equal(s.kept().Data, before) {
		t.Errorf("%v is in force and %v kept, want %v", s.inForce(), s.kept().Data, before)
	}
	var keys []string
	for _, e := range s.events {
		if strings.HasPrefix(e, "Warning ConfigurationRefused") {
			keys = append(keys, strings.Fields(e)[3])
		}
	}
	if want := []string{"storageMode:", "local.poolSizePerNode:", "nodeselector:"}; !slices.Equal(keys, want) {
		t.Errorf("Events tell of %v, want one for each of %v", keys, want)
	}
	s.write(map[string]string{"replicas": "3"})
	s.reconcile()
	if got := s.inForce()["replicas"]; got != "3" || len(s.settings.Refused()) > 0 {
		t.Errorf("mended: replicas %s, refused %v", got, s.settings.Refused())
	}
	s.wantStatus("ok, since ")
}

func malformed(t *testing.T, s *site) {
	s.write(map[string]string{"replicas": "7"})
	s.reconcile()
	many := map[string]string{}
	for i := range 5000 {
		many[fmt.Sprintf("key-%d", i)] = "x"
	}
	for name, data := range map[string]map[string]string{
		"control characters": {"poolName": "a\x00b\x1b[31m", "nodeSelector": "\u202e=,,"},
		"a long value":       {"logAddress": strings.Repeat("a", 500_000)},
		"a long key":         {strings.Repeat("k", 253): "x"},
		"many keys":          many,
		"a script":           {"local.poolLocation": "/x; rm -rf /", "kubeletDir": "../../etc"},
		"a negative size":    {"local.poolSizePerNode": "-1G", "pvcPerNode.pvSizePerNode": "1e99"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func(t *testing.T) { s.T = t }(s.T)
			s.T, s.events = t, nil
			s.write(data)
			s.reconcile()
			if got := s.inForce()["replicas"]; got != "7" {
				t.Errorf("replicas is %s, want the last good value", got)
			}
			if n := len(s.events); n == 0 || n > 31 {
				t.Errorf("%d Events", n)
			}
			s.wantStatus("refused, since ")
			if n := len(s.user().Annotations[settings.StatusAnnotation]); n > 20_000 {
				t.Errorf("the status has %d bytes", n)
			}
			if !maps.Equal(s.user().Data, data) {
				t.Error("the user's data was changed")
			}
		})
	}
}

func missing(t *testing.T, s *site) {
	s.reconcile()
	var kept corev1.ConfigMap
	err := s.client.Get(t.Context(), client.ObjectKey{Namespace: s.namespace, Name: specs.SettingsName}, &kept)
	if s.inForce() != nil || s.changes != 0 || !s.settings.Missing() || !apierrors.IsNotFound(err) {
		t.Errorf("before there is a ConfigMap %v is in force, and kept: %v", s.inForce(), err)
	}
	s.wantEvent("ConfigurationMissing", "configuration ConfigMap configuration does not exist, and no server is made before")
	s.wantEvent("ConfigurationMissing", "kubectl -n "+s.namespace+" create configmap configuration")
	s.write(nil)
	s.reconcile()
	if want := parse(t, nil).Data(); !maps.Equal(s.inForce(), want) || s.settings.Missing() {
		t.Errorf("with an empty one %v is in force, want the defaults", s.inForce())
	}
	s.write(map[string]string{"nodeSelector": "disk=ssd"})
	s.reconcile()
	if err := s.client.Delete(s.Context(), s.user()); err != nil {
		t.Fatal(err)
	}
	for _, step := range []func(){func() {}, s.restart} {
		step()
		s.reconcile()
		if got := s.inForce()["nodeSelector"]; got != "disk=ssd" || !s.settings.Missing() {
			t.Errorf("deleted: the selector is %q, want the last good one", got)
		}
	}
	s.wantEvent("ConfigurationMissing", "the last good values hold")
}

func restarted(t *testing.T, s *site) {
	s.write(map[string]string{"replicas": "5"})
	s.reconcile()
	s.write(map[string]string{"replicas": "none"})
	s.restart()
	s.reconcile()
	if got := s.inForce()["replicas"]; got != "5" || len(s.settings.Refused()) != 1 {
		t.Errorf("replicas is %q, refused %v, want the last good value", got, s.settings.Refused())
	}
}

func damaged(t *testing.T, s *site) {
	s.write(map[string]string{"poolName": "tank"})
	s.reconcile()
	pvc := s.makePVC()
	kept := s.kept()
	kept.Data["poolName"] = "/"
	if err := s.client.Update(s.Context(), kept); err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.reconcile()
	if got := s.inForce(); got != nil {
		t.Errorf("with pools %v is in force, though what they were made with is not known", got)
	}
	s.wantStatus("refused, since ", "dotmesh-settings", "Mend it, or delete it")
	s.deletePVC(pvc)
	s.reconcile()
	if got := s.inForce()["poolName"]; got != "tank" {
		t.Errorf("without pools the name is %q", got)
	}
}

func newerKeys(t *testing.T, s *site) {
	s.write(map[string]string{"replicas": "5"})
	s.reconcile()
	kept := s.kept()
	kept.Data["newerVersion"], kept.Data["keyOfTomorrow"] = "v9", "x"
	if err := s.client.Update(s.Context(), kept); err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.write(map[string]string{"replicas": "6"})
	s.reconcile()
	if got := s.kept().Data; got["newerVersion"] != "v9" || got["keyOfTomorrow"] != "x" || got["replicas"] != "6" {
		t.Errorf("kept: %v", got)
	}
}

// twoOperators has another operator put a configuration in force after this one
// has read the last good one.
func twoOperators(t *testing.T, s *site) {
	s.write(map[string]string{"replicas": "2"})
	s.reconcile()
	other := newSettings(s, s.client)
	stale := &staleReader{Reader: s.client, kept: s.kept()}
	s.settings = newSettings(s, stale)
	s.reconcile()
	s.write(map[string]string{"replicas": "3"})
	if _, err := other.Reconcile(t.Context(), reconcile.Request{}); err != nil {
		t.Fatal(err)
	}
	s.write(map[string]string{"replicas": "4"})
	if _, err := s.settings.Reconcile(t.Context(), reconcile.Request{}); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	if got := s.inForce()["replicas"]; got != "2" || s.kept().Data["replicas"] != "3" {
		t.Errorf("after the conflict %s is in force and %s kept", got, s.kept().Data["replicas"])
	}
	stale.kept = nil
	s.reconcile()
	if got := s.inForce()["replicas"]; got != "4" || s.kept().Data["replicas"] != "4" {
		t.Errorf("%s is in force and %s kept, want what the user wrote last", got, s.kept().Data["replicas"])
	}
}

func statusIsWrittenOnce(t *testing.T, s *site) {
	s.write(map[string]string{"flexvolumeDriverDir": "/x"})
	s.reconcile()
	s.wantStatus("ok, since ", "warning: flexvolumeDriverDir: ", "kubeletDir")
	s.wantEvent("ConfigurationWarning", "kubeletDir")
	before := s.user()
	s.now = s.now.Add(time.Hour)
	s.reconcile()
	if after := s.user(); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("written again: %s", after.Annotations[settings.StatusAnnotation])
	}
}

func useHolds(t *testing.T, s *site) {
	s.write(map[string]string{"replicas": "2"})
	s.reconcile()
	s.write(map[string]string{"replicas": "3"})
	done := make(chan struct{})
	err := s.settings.Use(t.Context(), func(c config.Config) error {
		go func() {
			defer close(done)
			_, _ = s.settings.Reconcile(context.WithoutCancel(t.Context()), reconcile.Request{})
		}()
		select {
		case <-done:
			t.Error("the configuration changed while it was used")
		case <-time.After(200 * time.Millisecond):
		}
		return nil
	})
	<-done
	if got := s.inForce()["replicas"]; err != nil || got != "3" {
		t.Errorf("afterwards %s is in force, %v", got, err)
	}
}
