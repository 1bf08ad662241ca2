package upgrades

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
)

// far is a server that answers, and counts what it was asked.
type far struct {
	version string // "" for an error
	asked   []string
}

func (f *far) RoundTrip(r *http.Request) (*http.Response, error) {
	f.asked = append(f.asked, r.URL.String())
	if f.version == "" {
		return nil, errors.New("away")
	}
	body := io.NopCloser(strings.NewReader(`{"version": "` + f.version + `"}`))
	return &http.Response{StatusCode: http.StatusOK, Body: body, Header: http.Header{}, Request: r}, nil
}

// interval is that of a fixture.
const interval = 20 * time.Minute

// fixture is a Checker at work, in a bubble of synctest.
type fixture struct {
	far
	data    map[string]string // of the ConfigMap; nil: not read yet
	refuse  error             // what Changed answers
	told    []string
	checker *Checker
}

func run(t *testing.T, ours string, test func(t *testing.T, f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{far: far{version: "1.3.0"}, data: map[string]string{"upgradesUrl": "https://a.example/", "storageMode": "pvcPerNode", "upgradesIntervalSeconds": "1200"}}
		f.checker = New(Config{
			Version: ours, Transport: f, Nodes: func() int { return 4 },
			Current: func() (config.Config, bool) {
				c, _, err := config.Parse(f.data)
				if err != nil {
					t.Error(err)
				}
				return c, f.data != nil
			},
			Changed: func(_ context.Context, newer string) error {
				f.told = append(f.told, newer)
				return f.refuse
			},
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.checker.Start(ctx) }()
		synctest.Wait()
		test(t, f)
		stop()
		if err := <-ended; err != nil {
			t.Errorf("got %v at the end", err)
		}
	})
}

func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (f *fixture) want(t *testing.T, asked int, told ...string) {
	t.Helper()
	if len(f.asked) != asked || !slices.Equal(f.told, told) {
		t.Errorf("asked %d times and told %q, want %d and %q", len(f.asked), f.told, asked, told)
	}
}

func TestAsksEveryInterval(t *testing.T) {
	run(t, "v1.2.3", func(t *testing.T, f *fixture) {
		f.want(t, 1, "1.3.0")
		if want := "https://a.example/?nodes=3-5&storageMode=pvcPerNode&version=1.2.3"; f.asked[0] != want {
			t.Errorf("asked %s, want %s", f.asked[0], want)
		}
		after(interval - time.Second)
		f.want(t, 1, "1.3.0")
		after(look)
		f.want(t, 2, "1.3.0")
		f.version = "1.4.0"
		after(interval + look)
		f.want(t, 3, "1.3.0", "1.4.0")
		f.version = "1.2.3"
		after(interval + look)
		f.want(t, 4, "1.3.0", "1.4.0", "")
	})
}

func TestNothingIsSentWithoutURL(t *testing.T) {
	run(t, "v1.2.3", func(t *testing.T, f *fixture) {
		f.data = map[string]string{}
		after(look)
		f.want(t, 1, "1.3.0", "")
		after(10 * interval)
		f.want(t, 1, "1.3.0", "")
	})
}

func TestConfigurationIsLive(t *testing.T) {
	run(t, "v1.2.3", func(t *testing.T, f *fixture) {
		f.data = map[string]string{"upgradesUrl": "https://b.example/", "upgradesIntervalSeconds": "60"}
		after(look)
		f.want(t, 2, "1.3.0")
		if !strings.HasPrefix(f.asked[1], "https://b.example/?") {
			t.Errorf("asked %s", f.asked[1])
		}
		after(time.Minute)
		f.want(t, 3, "1.3.0")
		f.data["upgradesIntervalSeconds"] = "3600"
		after(10 * time.Minute)
		f.want(t, 3, "1.3.0")
	})
}

func TestWaitsForTheConfiguration(t *testing.T) {
	run(t, "v1.2.3", func(t *testing.T, f *fixture) {
		f.data = nil
		after(10 * interval)
		f.want(t, 1, "1.3.0")
	})
}

// TestFailureKeepsWhatIsKnown has a server that goes away, and one that was never
// there.
func TestFailureKeepsWhatIsKnown(t *testing.T) {
	run(t, "v1.2.3", func(t *testing.T, f *fixture) {
		f.version = ""
		after(interval + look)
		f.want(t, 2, "1.3.0")
		after(retry + look)
		f.want(t, 3, "1.3.0")
		f.version = "1.3.0"
		after(retry + look)
		f.want(t, 4, "1.3.0")
		f.version = "" // at a URL that was never asked
		f.data = map[string]string{"upgradesUrl": "https://b.example/"}
		after(look)
		f.want(t, 5, "1.3.0")
	})
}

func TestChangedIsToldAgain(t *testing.T) {
	run(t, "v1.2.3", func(t *testing.T, f *fixture) {
		f.want(t, 1, "1.3.0")
		f.version, f.refuse = "1.4.0", errors.New("conflict")
		after(interval + look)
		f.refuse = nil
		told := len(f.told)
		after(interval / 2)
		if last := f.told[len(f.told)-1]; told < 2 || len(f.told) != told+1 || last != "1.4.0" {
			t.Errorf("told %q, want 1.4.0 until it is taken", f.told)
		}
	})
}

func TestWhatIsNewer(t *testing.T) {
	for _, c := range []struct{ ours, theirs, want string }{
		{"v1.2.3", "1.2.4", "1.2.4"},
		{"1.2.3", "v1.2.3", ""},
		{"1.2.3", "1.2.3+build", ""},
		{"1.2.3", "1.2.2", ""},
		{"1.2.3", "0.9.0", ""},
		{"1.10.0", "1.9.0", ""},
		{"1.2.3-rc.1", "1.2.3", "1.2.3"},
		{"1.2.3", "1.2.3-rc.1", ""},
		{"1.2.3", "2.0.0-rc.1", "2.0.0-rc.1"},
		{"0123456789ab-dirty", "0.0.1", "0.0.1"},
		{"devel", "1.2.3", "1.2.3"},
	} {
		run(t, c.ours, func(t *testing.T, f *fixture) {
			f.version = c.theirs
			after(interval + look)
			if got := f.told[len(f.told)-1]; got != c.want {
				t.Errorf("%s, offered %s: got %q, want %q", c.ours, c.theirs, got, c.want)
			}
		})
	}
}

func TestUnreleasedSendsNoCommit(t *testing.T) {
	run(t, "0123456789ab-dirty", func(t *testing.T, f *fixture) {
		if !strings.HasSuffix(f.asked[0], "&version=devel") {
			t.Errorf("asked %s", f.asked[0])
		}
	})
}

func TestMetrics(t *testing.T) {
	run(t, "v1.2.3", func(t *testing.T, f *fixture) {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(f.checker)
		shown := func() map[string]float64 {
			t.Helper()
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			all := map[string]float64{}
			for _, family := range families {
				for _, m := range family.GetMetric() {
					name := family.GetName()
					for _, l := range m.GetLabel() {
						name += " " + l.GetName() + "=" + l.GetValue()
					}
					all[name] = m.GetGauge().GetValue()
				}
			}
			return all
		}
		const newer, failed = "dotmesh_operator_newer_version version=1.3.0", "dotmesh_operator_upgrades_failed"
		if got, want := shown(), (map[string]float64{newer: 1, failed: 0}); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		f.version = ""
		after(interval + look)
		if got, want := shown(), (map[string]float64{newer: 1, failed: 1}); !maps.Equal(got, want) {
			t.Errorf("got %v after a failure, want %v", got, want)
		}
		f.data = map[string]string{}
		after(look)
		if got, want := shown(), (map[string]float64{failed: 0}); !maps.Equal(got, want) {
			t.Errorf("got %v with nobody to ask, want %v", got, want)
		}
	})
}
