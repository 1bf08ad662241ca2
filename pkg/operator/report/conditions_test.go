package report

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/pools"
)

// TestConditionsBecomeEvents: what is not well with a server is told on its node, and
// once that it is well again.
func TestConditionsBecomeEvents(t *testing.T) {
	now := time.Unix(1e9, 0)
	recorder := record.NewFakeRecorder(10)
	recorder.IncludeObject = true
	metrics, err := NewMetrics(prometheus.NewRegistry(), absent{})
	if err != nil {
		t.Fatal(err)
	}
	// Pods are not there: nobody labels them.
	r := New(fake.NewClientBuilder().WithScheme(scheme.Scheme).Build(), newEvents(recorder, func() time.Time { return now }), metrics)
	ill := pools.Condition{Type: "PoolHealthy", Reason: "DEGRADED", Message: "a disk is ill"}
	bare := pools.Condition{Type: "Registry", Message: "away"}
	well := pools.Condition{Type: "PoolHealthy", OK: true, Reason: "ONLINE"}
	for _, step := range []struct {
		what       string
		age        time.Duration
		released   bool
		conditions []pools.Condition
		want       []string
	}{
		{"a server that has just started", starting, false, []pools.Condition{ill}, nil},
		{"one that is well", time.Hour, false, []pools.Condition{well}, nil},
		{"one that is ill", time.Hour, false, []pools.Condition{ill}, []string{"Warning DEGRADED s1: a disk is ill"}},
		{"the same again", time.Hour, false, []pools.Condition{ill}, nil},
		{"a condition without a reason", time.Hour, false, []pools.Condition{ill, bare}, []string{"Warning Registry s1: away"}},
		{"well again", time.Hour, false, []pools.Condition{well, bare}, []string{"Normal PoolHealthyRecovered s1: PoolHealthy is well again"}},
		{"and that is told once", time.Hour, false, []pools.Condition{well, bare}, nil},
		{"one that has released its pool", time.Hour, true, []pools.Condition{{Type: "Ready", Message: "released"}}, nil},
	} {
		r.Observed(t.Context(), pools.Observation{
			State: plan.State{Now: now,
				Nodes:   []plan.Node{{Name: "n1"}},
				Servers: []plan.Server{{Pod: plan.Pod{Name: "s1", UID: "u1", Node: "n1", Created: now.Add(-step.age)}}}},
			Statuses: map[string]pools.Status{"s1": {Report: plan.Report{At: now, Released: step.released}, Conditions: step.conditions}},
		})
		var got []string
		for len(recorder.Events) > 0 {
			got = append(got, <-recorder.Events)
		}
		for i := range step.want {
			step.want[i] += " involvedObject{kind=Node,apiVersion=v1}"
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("%s:\n got %q\nwant %q", step.what, got, step.want)
		}
	}
}
