package report

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/pools"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// Metrics are the operator's own; controller-runtime adds those of its work.
type Metrics struct {
	nodes, servers, ready  prometheus.Gauge
	pools, claims, rollout *prometheus.GaugeVec
	errors                 *prometheus.CounterVec
}

// Configuration is what is told of the user's ConfigMap.
type Configuration interface {
	Refused() []config.Remark
	Missing() bool
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer, configuration Configuration) (*Metrics, error) {
	m := &Metrics{
		nodes:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "dotmesh_operator_nodes", Help: "Nodes that the selector chooses."}),
		servers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "dotmesh_operator_servers", Help: "Server pods."}),
		ready:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "dotmesh_operator_servers_ready", Help: "Server pods that are ready."}),
		pools: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "dotmesh_operator_pools", Help: "Pools by health, as their servers tell it; UNKNOWN for a server that does not.",
		}, []string{"health"}),
		claims: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "dotmesh_operator_pvcs", Help: "PersistentVolumeClaims for pools: free, or held for a node.",
		}, []string{"state"}),
		rollout: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "dotmesh_operator_rollout", Help: "1 for how far servers are with the image and configuration that are wanted: done, running, or stopped at one that does not come up.",
		}, []string{"state"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dotmesh_operator_action_errors_total", Help: "Actions that failed, by kind.",
		}, []string{"action"}),
	}
	refused := flag("dotmesh_operator_configuration_refused", "1 while the ConfigMap configuration is not in force because of what it says.",
		func() bool { return len(configuration.Refused()) > 0 })
	missing := flag("dotmesh_operator_configuration_missing", "1 while there is no ConfigMap configuration.", configuration.Missing)
	for _, c := range []prometheus.Collector{m.nodes, m.servers, m.ready, m.pools, m.claims, m.rollout, m.errors, refused, missing} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// flag is 1 while is says so.
func flag(name, help string, is func() bool) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
		if is() {
			return 1
		}
		return 0
	})
}

func (m *Metrics) failed(action string) { m.errors.WithLabelValues(action).Inc() }

func (m *Metrics) observed(o pools.Observation) {
	selected, ready := 0, 0
	for _, n := range o.State.Nodes {
		if !n.Deleting && o.State.Config.NodeSelector.Matches(n.Labels) {
			selected++
		}
	}
	health := map[string]int{}
	for _, s := range o.State.Servers {
		if s.Ready {
			ready++
		}
		status, told := o.Statuses[s.Name]
		health[labelsOf(o.State.Now, status, told)[specs.LabelHealth]]++
	}
	claims := map[string]int{"free": 0, "held": 0}
	for _, c := range o.State.PVCs {
		if c.Assignment.IsFree() && c.Malformed == "" {
			claims["free"]++
		} else {
			claims["held"]++
		}
	}
	m.nodes.Set(float64(selected))
	m.servers.Set(float64(len(o.State.Servers)))
	m.ready.Set(float64(ready))
	set(m.pools, health)
	set(m.claims, claims)
	set(m.rollout, map[string]int{string(plan.RolloutOf(o.State)): 1})
}

func set(v *prometheus.GaugeVec, counts map[string]int) {
	v.Reset()
	for label, n := range counts {
		v.WithLabelValues(label).Set(float64(n))
	}
}
