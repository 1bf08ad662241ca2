package settings

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// StatusAnnotation of the user's ConfigMap tells whether it is in force, for
// `kubectl describe`.
const StatusAnnotation = "dotmesh.io/status"

// The reasons of our Events.
const (
	reasonRefused = "ConfigurationRefused"
	reasonWarning = "ConfigurationWarning"
	reasonChanged = "ConfigurationChanged"
	reasonMissing = "ConfigurationMissing"
	reasonNewer   = "NewerVersion"
	reasonKept    = "ServersDependOnIt"
)

const (
	// maxEvents bounds how many Events one ConfigMap makes: it may hold a
	// megabyte of unknown keys.
	maxEvents = 30
	// maxStatus bounds the annotation, in bytes.
	maxStatus = 16 << 10
)

// tell says each thing in an Event of its own, on the user's ConfigMap, also where that
// is missing.
func (s *Settings) tell(ctx context.Context, user *corev1.ConfigMap, v verdict) {
	if user == nil {
		absent := specs.ConfigMapReference(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.cfg.Namespace, Name: Name}})
		s.cfg.Events.Warning(absent, reasonMissing, s.absence(v))
		klog.FromContext(ctx).Info("the configuration is missing", "reason", s.absence(v))
		s.each(absent, reasonRefused, v.problems)
		return
	}
	ref := specs.ConfigMapReference(user)
	for _, c := range v.plan {
		s.cfg.Events.Normal(ref, reasonChanged, c.String())
	}
	s.each(ref, reasonRefused, v.problems)
	s.each(ref, reasonWarning, v.warnings)
}

func (s *Settings) each(on *corev1.ObjectReference, reason string, remarks []config.Remark) {
	for i, r := range remarks {
		if i == maxEvents {
			s.cfg.Events.Warning(on, reason, fmt.Sprintf("%d more keys are not good; see the annotation %s", len(remarks)-i, StatusAnnotation))
			return
		}
		s.cfg.Events.Warning(on, reason, r.String())
	}
}

// absence tells what follows from it that there is no ConfigMap of the user's.
func (s *Settings) absence(v verdict) string {
	if v.inForce == nil {
		return fmt.Sprintf("ConfigMap %s does not exist, and no server is made before it does: apply yours, or `kubectl -n %s create configmap %[1]s` for the defaults", Name, s.cfg.Namespace)
	}
	return fmt.Sprintf("ConfigMap %s does not exist: the last good values hold, those of ConfigMap %s; make it anew to change them", Name, specs.SettingsName)
}

// setStatus writes the annotation if it says something else than before, since
// when included.
func (s *Settings) setStatus(ctx context.Context, user *corev1.ConfigMap, v verdict) error {
	if user == nil {
		return nil
	}
	before := user.Annotations[StatusAnnotation]
	if m := since.FindStringSubmatch(before); m != nil && v.status(m[1]) == before {
		return nil
	}
	next := user.DeepCopy()
	if next.Annotations == nil {
		next.Annotations = map[string]string{}
	}
	next.Annotations[StatusAnnotation] = v.status(s.cfg.Now().UTC().Format(time.RFC3339))
	if err := s.cfg.Client.Patch(ctx, next, client.MergeFromWithOptions(user, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("write the status of ConfigMap %s: %w", Name, err)
	}
	return nil
}

var since = regexp.MustCompile(`^[a-z]+, since ([0-9TZ:-]+)`)

// status is the annotation's text.
func (v verdict) status(since string) string {
	var text strings.Builder
	switch {
	case len(v.problems) == 0:
		fmt.Fprintf(&text, "ok, since %s", since)
	case v.inForce == nil:
		fmt.Fprintf(&text, "refused, since %s: %v. No last good values are known, and nothing is done", since, &config.Refusal{Problems: v.problems})
	default:
		fmt.Fprintf(&text, "refused, since %s: %v. The last good values hold: ConfigMap %s", since, &config.Refusal{Problems: v.problems}, specs.SettingsName)
	}
	for _, w := range v.warnings {
		fmt.Fprintf(&text, "; warning: %s", w)
	}
	if text.Len() > maxStatus {
		return strings.ToValidUTF8(text.String()[:maxStatus], "") + "…"
	}
	return text.String()
}
