package report

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/pools"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// absent is a configuration that nobody has written.
type absent struct{}

func (absent) Refused() []config.Remark { return nil }
func (absent) Missing() bool            { return true }

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := NewMetrics(registry, absent{})
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Parse(map[string]string{"storageMode": "pvcPerNode", "nodeSelector": "disk=ssd"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	ssd := map[string]string{"disk": "ssd"}
	o := pools.Observation{State: plan.State{
		Now: now, Config: c,
		Nodes:   []plan.Node{{Name: "a", Labels: ssd}, {Name: "b", Labels: ssd}, {Name: "c"}, {Name: "d", Labels: ssd, Deleting: true}},
		Servers: []plan.Server{{Pod: plan.Pod{Name: "s1", Ready: true}}, {Pod: plan.Pod{Name: "s2", Ready: true}}, {Pod: plan.Pod{Name: "s3"}}},
		PVCs: []plan.PVC{
			{Name: "p1", Assignment: specs.Assignment{Node: "a", Generation: 1}}, {Name: "p2", Assignment: specs.Assignment{Node: "b", Generation: 1}},
			{Name: "p3"}, {Name: "p4", Malformed: "nobody knows whose it is"},
		},
	}, Statuses: map[string]pools.Status{
		"s1": {Report: plan.Report{At: now, Health: "ONLINE"}},
		"s2": {Report: plan.Report{At: now.Add(-2 * silent), Health: "ONLINE"}},
	}}
	m.observed(o)
	m.observed(o) // what is told twice counts once
	m.failed("plan.CreateServer")
	want := map[string]float64{
		"nodes": 2, "servers": 3, "servers_ready": 2, "pools ONLINE": 1, "pools UNKNOWN": 2, "pvcs free": 1, "pvcs held": 3,
		"rollout running": 1, "action_errors_total plan.CreateServer": 1, "configuration_refused": 0, "configuration_missing": 1,
	}
	if got := gather(t, registry); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// gather is what a scrape shows, by name and the value of the label.
func gather(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()[len("dotmesh_operator_"):]
			for _, label := range metric.GetLabel() {
				name += fmt.Sprint(" ", label.GetValue())
			}
			all[name] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return all
}
