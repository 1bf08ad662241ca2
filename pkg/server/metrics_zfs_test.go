//go:build zfs

package server_test

import (
	"bufio"
	"crypto/tls"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/server"
)

// scrape reads /metrics as the admin: values by name with labels.
func scrape(t *testing.T, cfg server.Config) map[string]float64 {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 30 * time.Second}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+cfg.Listen+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("admin", apiKey)
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: got %s", res.Status)
	}
	values := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		at := strings.LastIndex(lines.Text(), " ")
		v, err := strconv.ParseFloat(lines.Text()[at+1:], 64)
		if err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		values[lines.Text()[:at]] = v
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return values
}

// ours are the names of our own metrics in a text.
func ours(text string) []string {
	names := regexp.MustCompile(`dotmesh_[a-z_]+`).FindAllString(text, -1)
	for i, n := range names {
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			n = strings.TrimSuffix(n, suffix)
		}
		names[i] = n
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestMetricsArePromisedAndTrue: they are the ones that docs/configuration.md lists,
// and they show what was done.
func TestMetricsArePromisedAndTrue(t *testing.T) {
	m := newMachine(t)
	cfg := m.config(nil)
	r := m.startWith(cfg)
	before := scrape(t, cfg)
	for what, want := range map[string]float64{"dotmesh_lease_held": 1, `dotmesh_pool_health{state="ONLINE"}`: 1} {
		if got := before[what]; got != want {
			t.Errorf("ready, %s: got %v, want %v", what, got, want)
		}
	}
	size, free := before["dotmesh_pool_size_bytes"], before["dotmesh_pool_free_bytes"]
	if size < 512<<20 || size > 1<<30 || free < 0.7*size || free > size {
		t.Errorf("a new pool of 1 GiB: got %v bytes, %v free", size, free)
	}

	must(t, r.Volumes.CreateVolume, pvc("a"))
	must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s", Volume: volumeID("a")})
	must(t, r.Volumes.CreateVolume, pvc("gone"))
	must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("gone")})
	bad := pvc("bad")
	bad.Subdot = "../x"
	if _, err := call(r.Volumes.CreateVolume, bad); dot.CodeOf(err) != dot.CodeInvalid || err == nil {
		t.Errorf("a bad subdot: got %v", err)
	}
	m.settled()
	m.eventually("the background's queue", func() string {
		if n := scrape(t, cfg)["dotmesh_background_jobs"]; n != 0 {
			return strconv.FormatFloat(n, 'f', -1, 64) + " jobs are left"
		}
		return ""
	})
	after := scrape(t, cfg)
	for what, want := range map[string]float64{
		`dotmesh_api_request_seconds_count{code="ok",method="CreateVolume"}`:               2,
		`dotmesh_api_request_seconds_count{code="invalid_argument",method="CreateVolume"}`: 1,
		`dotmesh_api_request_seconds_count{code="ok",method="CreateSnapshot"}`:             1,
		`dotmesh_zfs_command_seconds_count{outcome="ok",verb="zfs create"}`:                2,
		`dotmesh_zfs_command_seconds_count{outcome="ok",verb="zfs program"}`:               1,
		`dotmesh_zfs_command_seconds_count{outcome="ok",verb="zfs destroy"}`:               1,
	} {
		if got := after[what] - before[what]; got != want {
			t.Errorf("%s: grew by %v, want %v", what, got, want)
		}
	}
	for _, what := range []string{`dotmesh_api_request_seconds_sum{code="ok",method="CreateVolume"}`, `dotmesh_zfs_command_seconds_sum{outcome="ok",verb="zfs create"}`} {
		if got := after[what] - before[what]; got <= 0 || got > 120 {
			t.Errorf("%s: grew by %v s", what, got)
		}
	}
	var shown []string
	for name := range after {
		shown = append(shown, name)
	}
	docs, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	promised := slices.DeleteFunc(ours(string(docs)), func(name string) bool { return strings.HasPrefix(name, "dotmesh_operator_") })
	if got, want := ours(strings.Join(shown, "\n")), promised; !slices.Equal(got, want) {
		t.Errorf("shown are %q, promised are %q", got, want)
	}
	for _, name := range shown {
		for _, secret := range []string{apiKey, "pvc-", volumeID("a")} {
			if strings.Contains(name, secret) {
				t.Errorf("%s tells more than it should", name)
			}
		}
	}
}
