package report

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/pools"
)

// starting is how long a server is not well without anybody being told.
const starting = 2 * time.Minute

// Report is called with every observation of the cluster, and tells of it. It is used by
// one goroutine.
type Report struct {
	client  client.Client
	events  *Events
	metrics *Metrics
	// ill are the conditions that were not well, by server pod and type.
	ill map[types.UID]map[string]bool
}

// New makes a Report.
func New(c client.Client, events *Events, metrics *Metrics) *Report {
	return &Report{client: c, events: events, metrics: metrics, ill: map[types.UID]map[string]bool{}}
}

// Failed counts an action that failed.
func (r *Report) Failed(action string) { r.metrics.failed(action) }

// Observed tells of an observation. What cannot be told is logged: nothing depends
// on it, and the next observation is soon.
func (r *Report) Observed(ctx context.Context, o pools.Observation) {
	r.metrics.observed(o)
	ill := map[types.UID]map[string]bool{}
	for _, server := range o.State.Servers {
		status, told := o.Statuses[server.Name]
		if err := r.label(ctx, o.State, server, status, told); err != nil {
			klog.FromContext(ctx).Error(err, "label server", "pod", server.Name)
		}
		if told && !status.Released && o.State.Now.Sub(server.Created) > starting {
			ill[server.UID] = r.conditions(o.State, server, status.Conditions)
		}
	}
	r.ill = ill
}

// conditions tells on the node what is not well with its server, and what is well
// again. It returns the types of those that are not.
func (r *Report) conditions(s plan.State, server plan.Server, all []pools.Condition) map[string]bool {
	ill := map[string]bool{}
	node := s.Reference(plan.Object{Kind: "Node", Name: server.Node})
	for _, c := range all {
		switch {
		case !c.OK:
			ill[c.Type] = true
			r.events.Warning(node, reasonOf(c), fmt.Sprintf("%s: %s", server.Name, c.Message))
		case r.ill[server.UID][c.Type]:
			r.events.Normal(node, c.Type+"Recovered", fmt.Sprintf("%s: %s is well again", server.Name, c.Type))
		}
	}
	return ill
}

// reasonOf is the condition's reason, or its type where it gives none: an Event
// needs one.
func reasonOf(c pools.Condition) string {
	if c.Reason != "" {
		return c.Reason
	}
	return c.Type
}
