package report

import (
	"github.com/prometheus/client_golang/prometheus"

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

// NewMetrics registers them. refused tells whether the ConfigMap is not in force.
func NewMetrics(reg prometheus.Registerer, refused func() bool) (*Metrics, error) {
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
	configuration := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dotmesh_operator_configuration_refused", Help: "1 while the ConfigMap configuration is not in force because of what it says.",
	}, func() float64 {
		if refused() {
			return 1
		}
		return 0
	})
	for _, c := range []prometheus.Collector{m.nodes, m.servers, m.ready, m.pools, m.claims, m.rollout, m.errors, configuration} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
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
	set(m.rollout, map[string]int{string(plan.RolloutOf(o.State).State): 1})
}

func set(v *prometheus.GaugeVec, counts map[string]int) {
	v.Reset()
	for label, n := range counts {
		v.WithLabelValues(label).Set(float64(n))
	}
}
