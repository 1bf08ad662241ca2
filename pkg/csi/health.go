package csi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/kubernetes-csi/csi-lib-utils/metrics"
	"k8s.io/klog/v2"
)

const (
	readyTimeout = 5 * time.Second
	httpTimeout  = 10 * time.Second
)

// HealthHandler answers /healthz, which depends on this process alone and so
// may decide on its life, /readyz, which asks ready, and /metrics.
func HealthHandler(m metrics.CSIMetricsManager, ready func(context.Context) error) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := ready(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	m.RegisterToServer(mux, "/metrics")
	return mux
}

// ServeHealth answers HTTP on addr ("host:port") until ctx ends.
func ServeHealth(ctx context.Context, addr string, h http.Handler) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for health and metrics: %w", err)
	}
	srv := &http.Server{Handler: h, ReadTimeout: httpTimeout, WriteTimeout: httpTimeout, MaxHeaderBytes: 1 << 16}
	closed := context.AfterFunc(ctx, func() { srv.Close() })
	defer closed()
	klog.FromContext(ctx).Info("serving health and metrics", "address", l.Addr().String())
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health and metrics: %w", err)
	}
	return nil
}
