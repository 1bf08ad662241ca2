package server

import (
	"context"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
)

// metrics are what /metrics shows.
type metrics struct {
	requests *prometheus.HistogramVec
	commands *prometheus.HistogramVec
	lease    prometheus.Gauge
	pool     *prometheus.GaugeVec
	free     prometheus.Gauge
	size     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, queue func() int) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dotmesh_api_request_seconds", Help: "Calls of the API, by method and status code.",
			Buckets: []float64{.005, .02, .1, .5, 1, 2, 5, 15, 60},
		}, []string{"method", "code"}),
		commands: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dotmesh_zfs_command_seconds", Help: "ZFS commands, by verb and outcome.",
			Buckets: []float64{.01, .05, .2, 1, 5, 30, 120},
		}, []string{"verb", "outcome"}),
		lease: prometheus.NewGauge(prometheus.GaugeOpts{Name: "dotmesh_lease_held", Help: "1 while the server holds its pool's lease."}),
		pool: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "dotmesh_pool_health", Help: "1 for the pool's state, as of the last check.",
		}, []string{"state"}),
		free: prometheus.NewGauge(prometheus.GaugeOpts{Name: "dotmesh_pool_free_bytes", Help: "Room left in the pool, as of the last check."}),
		size: prometheus.NewGauge(prometheus.GaugeOpts{Name: "dotmesh_pool_size_bytes", Help: "Size of the pool."}),
	}
	backlog := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dotmesh_background_jobs", Help: "Work in the background that is not done yet.",
	}, func() float64 { return float64(queue()) })
	for _, c := range []prometheus.Collector{m.requests, m.commands, m.lease, m.pool, m.free, m.size, backlog} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observeCommand is called after every ZFS process.
func (m *metrics) observeCommand(args []string, d time.Duration, err error) {
	verb := "other"
	if len(args) > 1 && !strings.HasPrefix(args[1], "-") {
		verb = args[0] + " " + args[1]
	}
	outcome := "ok"
	if err != nil {
		outcome = "error"
	}
	m.commands.WithLabelValues(verb, outcome).Observe(d.Seconds())
}

const (
	defaultDeadline = time.Minute
	longestDeadline = 2 * time.Minute
)

// around gives every call a deadline, counts and logs it, and turns its error
// into a status.
func (m *metrics) around() connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			limit := defaultDeadline
			if at, ok := ctx.Deadline(); ok {
				limit = min(time.Until(at), longestDeadline)
			}
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			procedure := req.Spec().Procedure
			method := procedure[strings.LastIndex(procedure, "/")+1:]
			logger := klog.FromContext(ctx).WithValues("method", method)
			start := time.Now()
			res, err := next(klog.NewContext(ctx, logger), req)
			err = api.ToConnect(err)
			code := "ok"
			if err != nil {
				code = connect.CodeOf(err).String()
			}
			took := time.Since(start)
			m.requests.WithLabelValues(method, code).Observe(took.Seconds())
			logCall(logger, err, took)
			if err != nil {
				return nil, err
			}
			return res, nil
		}
	}
}

func logCall(logger klog.Logger, err error, took time.Duration) {
	switch {
	case err == nil:
		logger.V(3).Info("answered", "took", took)
	case connect.CodeOf(err) == connect.CodeInternal:
		logger.Error(err, "failed", "took", took)
	default:
		logger.V(1).Info("refused", "because", err, "took", took)
	}
}
