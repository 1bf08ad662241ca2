package server

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
