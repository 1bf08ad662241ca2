package report

import (
	"context"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/pools"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

const (
	// silent is how old a server's last answer may be, before its health is unknown.
	silent = time.Minute

	unknown = "UNKNOWN"

	maxLabel = 63
)

// label writes what a server told on its pod, for people who look at all of them
// with kubectl. It changes nothing that says so already.
func (r *Report) label(ctx context.Context, s plan.State, server plan.Server, status pools.Status, told bool) error {
	want := labelsOf(s.Now, status, told)
	var pod corev1.Pod
	if err := r.client.Get(ctx, client.ObjectKey{Namespace: s.Cluster.Namespace, Name: server.Name}, &pod); err != nil {
		return client.IgnoreNotFound(err)
	}
	next := pod.DeepCopy()
	changed := false
	for key, value := range want {
		if pod.Labels[key] != value {
			next.Labels[key], changed = value, true
		}
	}
	if !changed || pod.UID != server.UID {
		return nil
	}
	return client.IgnoreNotFound(r.client.Patch(ctx, next, client.MergeFrom(&pod)))
}

// labelsOf are those that differ from pod to pod. Once there, pool and version stay:
// they are facts of the pod.
func labelsOf(now time.Time, status pools.Status, told bool) map[string]string {
	if !told {
		return map[string]string{specs.LabelHealth: unknown}
	}
	labels := map[string]string{specs.LabelHealth: labelValue(status.Health)}
	if now.Sub(status.At) > silent {
		labels[specs.LabelHealth] = unknown
	}
	if status.Released {
		labels[specs.LabelHealth] = "RELEASED"
	}
	if status.Pool != "" {
		labels[specs.LabelPool] = labelValue(status.Pool)
	}
	if status.Version != "" {
		labels[specs.LabelVersion] = labelValue(status.Version)
	}
	return labels
}

var notInLabels = regexp.MustCompile(`[^A-Za-z0-9_.-]`)

// labelValue is s as the value of a label may be.
func labelValue(s string) string {
	s = notInLabels.ReplaceAllString(s, "_")
	s = strings.Trim(s[:min(len(s), maxLabel)], "_.-")
	if s == "" {
		return unknown
	}
	return s
}
