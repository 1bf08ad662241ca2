package csi

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/kubernetes-csi/csi-lib-utils/metrics"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

func TestPluginCapabilitiesAreExactlyThese(t *testing.T) {
	res, err := (&Identity{}).GetPluginCapabilities(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range res.GetCapabilities() {
		if c.GetService() != nil {
			got = append(got, c.GetService().GetType().String())
		}
		if c.GetVolumeExpansion() != nil {
			got = append(got, c.GetVolumeExpansion().GetType().String())
		}
	}
	slices.Sort(got)
	want := []string{"CONTROLLER_SERVICE", "ONLINE", "VOLUME_ACCESSIBILITY_CONSTRAINTS"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestIdentity(t *testing.T) {
	var state error
	i := &Identity{Version: "v1", Ready: func(context.Context) error { return state }}
	info, err := i.GetPluginInfo(t.Context(), nil)
	if err != nil || info.GetName() != "dotmesh.csi" || info.GetVendorVersion() != "v1" {
		t.Errorf("got %v, %v", info, err)
	}
	for _, state = range []error{nil, errors.New("no server")} {
		res, err := i.Probe(t.Context(), &csi.ProbeRequest{})
		if err != nil || res.GetReady().GetValue() != (state == nil) {
			t.Errorf("server %v: got %v, %v", state, res.GetReady(), err)
		}
	}
}

func TestRegistration(t *testing.T) {
	r := NewRegistration("/plugins/csi.sock")
	if r.Ready(t.Context()) == nil {
		t.Error("ready before kubelet asked")
	}
	info, err := r.GetInfo(t.Context(), nil)
	if err != nil || info.GetType() != "CSIPlugin" || info.GetName() != "dotmesh.csi" || info.GetEndpoint() != "/plugins/csi.sock" ||
		!slices.Equal(info.GetSupportedVersions(), []string{"1.0.0"}) {
		t.Errorf("got %v, %v", info, err)
	}
	for _, s := range []*registration.RegistrationStatus{{Error: "bad name"}, {PluginRegistered: true}} {
		if _, err := r.NotifyRegistrationStatus(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		err := r.Ready(t.Context())
		if (err == nil) != s.PluginRegistered || err != nil && !strings.Contains(err.Error(), s.Error) {
			t.Errorf("kubelet said %v: got %v", s, err)
		}
	}
}

func TestHealth(t *testing.T) {
	var state error
	m := metrics.NewCSIMetricsManagerForPlugin(DriverName)
	m.RecordMetrics("/csi.v1.Identity/Probe", nil, 0)
	srv := httptest.NewServer(HealthHandler(m, func(context.Context) error { return state }))
	defer srv.Close()
	get := func(path string) (int, string) {
		res, err := srv.Client().Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	if code, _ := get("/readyz"); code != 200 {
		t.Errorf("ready: got %d", code)
	}
	state = errors.New("the server is away")
	if code, body := get("/readyz"); code != 503 || !strings.Contains(body, "the server is away") {
		t.Errorf("not ready: got %d %q", code, body)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("alive although nothing else is: got %d", code)
	}
	if _, body := get("/metrics"); !strings.Contains(body, `csi_plugin_operations_seconds_count{driver_name="dotmesh.csi"`) {
		t.Errorf("csi_plugin_operations_seconds is missing:\n%s", body)
	}
}

func TestClusterName(t *testing.T) {
	for _, ok := range []string{"dotmesh", "a", "A.b_c-9", strings.Repeat("x", 63)} {
		if err := CheckClusterName(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "-a", "a-", "a b", "ä", strings.Repeat("x", 64)} {
		if CheckClusterName(bad) == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func checkPrivate(t *testing.T, path string) {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%s: got %v, %v, want mode 0600", path, st.Mode(), err)
	}
}

func writeFile(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
}
