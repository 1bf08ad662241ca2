package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

const (
	// healthFor is how long an answer about the pool's health is good for: a
	// check starts processes and writes to the pool.
	healthFor = time.Minute
	// healthDeadline is how long a txg may take on a pool that is well.
	healthDeadline = 60 * time.Second
)

// healthCache keeps the pool's last known health. Nothing is checked unless
// somebody asks.
type healthCache struct {
	check   func(context.Context, time.Duration) (engine.Health, error)
	metrics *metrics

	mu      sync.Mutex
	last    engine.Health
	err     error
	at      time.Time
	running bool
}

// newHealthCache begins with what was seen of the pool when it was opened.
func newHealthCache(check func(context.Context, time.Duration) (engine.Health, error), m *metrics, opened engine.Health) *healthCache {
	h := &healthCache{check: check, metrics: m, last: opened}
	h.show()
	return h
}

// show tells the metrics; the caller holds h.mu, or has h alone.
func (h *healthCache) show() {
	h.metrics.pool.WithLabelValues(h.last.State).Set(1)
	h.metrics.free.Set(float64(h.last.FreeBytes))
	h.metrics.size.Set(float64(h.last.SizeBytes))
}

// get gives the last answer, and has a new one made if that is old.
func (h *healthCache) get(ctx context.Context) (engine.Health, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.running && time.Since(h.at) > healthFor {
		h.running = true
		go h.refresh(context.WithoutCancel(ctx))
	}
	return h.last, h.err
}

func (h *healthCache) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*healthDeadline)
	defer cancel()
	now, err := h.check(ctx, healthDeadline)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		klog.FromContext(ctx).Error(err, "the pool's health cannot be told")
	} else {
		if now.State != h.last.State {
			h.metrics.pool.Reset()
		}
		if now.Problem != h.last.Problem {
			klog.FromContext(ctx).Info("pool health", "state", now.State, "problem", now.Problem)
		}
		if now.SizeBytes == 0 { // a pool that hangs does not tell
			now.SizeBytes, now.FreeBytes = h.last.SizeBytes, h.last.FreeBytes
		}
		h.last = now
		h.show()
	}
	h.err, h.at, h.running = err, time.Now(), false
}

// size is the pool's size as last seen.
func (h *healthCache) size() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last.SizeBytes
}

// ready tells whether the server can serve, and why not.
func (p *plane) ready(ctx context.Context) error {
	if _, err := p.lease.current(); err != nil {
		return err
	}
	h, err := p.health.get(ctx)
	if err != nil {
		return err
	}
	if !h.Writes || h.State == zfs.HealthSuspended {
		return dot.Unavailable("pool %s does not write (%s): %s", p.pool, h.State, h.Problem)
	}
	return nil
}

// addHealth serves /healthz, which says that the process answers and depends on
// nothing else, and /readyz. Anybody may ask, so that an answer is the end of its
// connection.
func addHealth(mux *http.ServeMux, get planeSource) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		p, err := get()
		if err == nil {
			err = p.ready(r.Context())
		}
		if err != nil {
			writeText(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		writeText(w, http.StatusOK, "ok")
	})
}

// askingHealth has the pool looked at whenever next is asked, so that what it shows
// is of the last minutes also where nobody probes.
func askingHealth(get planeSource, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, err := get(); err == nil {
			_, _ = p.health.get(r.Context()) // begins a check; the metrics tell the last
		}
		next.ServeHTTP(w, r)
	})
}

func writeText(w http.ResponseWriter, status int, text string) {
	hangUp(w)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // the client may be gone
}
