package config

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// NodeSelector chooses nodes by their labels. The zero value chooses every node.
type NodeSelector struct {
	// requirements are sorted by their text, so that what is made of them does
	// not change while they do not.
	requirements []labels.Requirement
}

// ParseNodeSelector reads what `kubectl get nodes -l` takes. Empty means every node.
func ParseNodeSelector(s string) (NodeSelector, error) {
	requirements, err := labels.ParseToRequirements(s)
	if err != nil {
		return NodeSelector{}, fmt.Errorf("%w (%s)", refuse(s, "what `kubectl get nodes -l` takes, such as disk=ssd,zone in (a,b),!old, or nothing for every node"), detail(err))
	}
	slices.SortFunc(requirements, func(a, b labels.Requirement) int { return strings.Compare(a.String(), b.String()) })
	return NodeSelector{requirements}, nil
}

// detail is a parser's error, which may repeat a megabyte of input.
func detail(err error) string {
	const most = 200
	if text := err.Error(); len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return err.Error()
}

// String writes it as ParseNodeSelector reads it.
func (n NodeSelector) String() string {
	var all []string
	for _, r := range n.requirements {
		all = append(all, r.String())
	}
	return strings.Join(all, ",")
}

// Matches tells whether it chooses a node with these labels.
func (n NodeSelector) Matches(node map[string]string) bool {
	return labels.NewSelector().Add(n.requirements...).Matches(labels.Set(node))
}

// Affinity is the same choice as a pod's required node affinity, nil for every
// node: a NodeSelector without terms would choose none.
func (n NodeSelector) Affinity() *corev1.NodeSelector {
	if len(n.requirements) == 0 {
		return nil
	}
	var term corev1.NodeSelectorTerm
	for _, r := range n.requirements {
		term.MatchExpressions = append(term.MatchExpressions, corev1.NodeSelectorRequirement{
			Key: r.Key(), Operator: affinityOperator(r.Operator()), Values: values(r),
		})
	}
	return &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{term}}
}

// values are nil, not empty, for operators without any: what the API server
// gives back must equal what it was given.
func values(r labels.Requirement) []string {
	return slices.Compact(slices.Sorted(slices.Values(r.ValuesUnsorted())))
}

func affinityOperator(op selection.Operator) corev1.NodeSelectorOperator {
	switch op {
	case selection.NotIn, selection.NotEquals:
		return corev1.NodeSelectorOpNotIn
	case selection.Exists:
		return corev1.NodeSelectorOpExists
	case selection.DoesNotExist:
		return corev1.NodeSelectorOpDoesNotExist
	case selection.GreaterThan:
		return corev1.NodeSelectorOpGt
	case selection.LessThan:
		return corev1.NodeSelectorOpLt
	default: // In, Equals, DoubleEquals
		return corev1.NodeSelectorOpIn
	}
}
