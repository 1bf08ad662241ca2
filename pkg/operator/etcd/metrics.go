package etcd

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of the operator's own etcd.
type Metrics struct {
	members, healthy prometheus.Gauge
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		members: prometheus.NewGauge(prometheus.GaugeOpts{Name: "dotmesh_operator_etcd_members", Help: "Members of etcd; as last known, while it does not answer."}),
		healthy: prometheus.NewGauge(prometheus.GaugeOpts{Name: "dotmesh_operator_etcd_members_healthy", Help: "Members of etcd that answer and know a leader; 0 while etcd does not answer, or could not be asked."}),
	}
	return m, errors.Join(reg.Register(m.members), reg.Register(m.healthy))
}

// unasked says that nobody knows how the members are.
func (m *Metrics) unasked() { m.healthy.Set(0) }

func (m *Metrics) observed(s State) {
	known := len(s.begun())
	if s.Answers {
		known = len(s.Members)
	}
	m.members.Set(float64(known))
	m.healthy.Set(float64(s.healthyBut(0)))
}
