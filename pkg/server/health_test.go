package server

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
)

func TestHealthIsCheckedOnlyWhenAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := newMetrics(prometheus.NewRegistry(), func() int { return 0 })
		if err != nil {
			t.Fatal(err)
		}
		checks, answer, failure := 0, engine.Health{State: "ONLINE", Writes: true, SizeBytes: 5}, error(nil)
		h := &healthCache{metrics: m, last: engine.Health{SizeBytes: 3}, check: func(context.Context, time.Duration) (engine.Health, error) {
			checks++
			return answer, failure
		}}
		ask := func() (engine.Health, error) {
			_, _ = h.get(t.Context())
			synctest.Wait()
			return h.get(t.Context())
		}
		time.Sleep(time.Hour)
		if checks != 0 {
			t.Error("checked although nobody asked")
		}
		for range 5 {
			if got, err := ask(); err != nil || got.State != "ONLINE" || h.size() != 5 {
				t.Errorf("got %+v, %v", got, err)
			}
		}
		if checks != 1 {
			t.Errorf("checked %d times within a minute", checks)
		}
		time.Sleep(healthFor + time.Second)
		answer = engine.Health{State: "SUSPENDED", Problem: "hangs"}
		if got, _ := ask(); got.State != "SUSPENDED" || h.size() != 5 {
			t.Errorf("got %+v, size %d", got, h.size())
		}
		time.Sleep(healthFor + time.Second)
		failure = errors.New("zfs is gone")
		if _, err := ask(); !errors.Is(err, failure) {
			t.Errorf("got %v", err)
		}
	})
}

func TestMetricsHaveThePoolLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := newMetrics(prometheus.NewRegistry(), func() int { return 0 })
		if err != nil {
			t.Fatal(err)
		}
		checks, served := 0, 0
		p := &plane{health: &healthCache{metrics: m, check: func(context.Context, time.Duration) (engine.Health, error) {
			checks++
			return engine.Health{}, nil
		}}}
		ready := false
		get := func() (*plane, error) {
			if !ready {
				return nil, errors.New("not yet")
			}
			return p, nil
		}
		handler := askingHealth(get, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
		for _, ready = range []bool{false, true} {
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
			synctest.Wait()
		}
		if checks != 1 || served != 2 {
			t.Errorf("looked %d times and answered %d, want 1 and 2", checks, served)
		}
	})
}
