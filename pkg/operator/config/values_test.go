package config

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

func TestSizeToKubernetes(t *testing.T) {
	for in, want := range map[string]string{"10G": "10Gi", "1536M": "1536Mi", "1000": "1000", "1Ei": "1024Pi", "3K": "3Ki"} {
		size, err := ParseSize(in)
		if err != nil || size.String() != want {
			t.Errorf("%q: got %s, %v, want %s", in, size, err, want)
		}
		if q := size.Quantity(); q.Cmp(resource.MustParse(want)) != 0 {
			t.Errorf("%q: got %s, want %s", in, q.String(), want)
		}
	}
	if pool.MinSize != minPoolSize {
		t.Errorf("servers want %d bytes, the configuration %d", pool.MinSize, minPoolSize)
	}
}

func TestNodeSelectorAsAffinity(t *testing.T) {
	type requirement = corev1.NodeSelectorRequirement
	for in, want := range map[string][]requirement{
		"a=b":             {{Key: "a", Operator: "In", Values: []string{"b"}}},
		"a==b":            {{Key: "a", Operator: "In", Values: []string{"b"}}},
		"a=":              {{Key: "a", Operator: "In", Values: []string{""}}},
		"a!=b":            {{Key: "a", Operator: "NotIn", Values: []string{"b"}}},
		"a in (c,b,c)":    {{Key: "a", Operator: "In", Values: []string{"b", "c"}}},
		"a notin (b,c)":   {{Key: "a", Operator: "NotIn", Values: []string{"b", "c"}}},
		"x.io/a":          {{Key: "x.io/a", Operator: "Exists"}},
		"!a":              {{Key: "a", Operator: "DoesNotExist"}},
		"a>4":             {{Key: "a", Operator: "Gt", Values: []string{"4"}}},
		"a<4":             {{Key: "a", Operator: "Lt", Values: []string{"4"}}},
		"b,a=x,!c ,a!=y ": {{Key: "c", Operator: "DoesNotExist"}, {Key: "a", Operator: "NotIn", Values: []string{"y"}}, {Key: "a", Operator: "In", Values: []string{"x"}}, {Key: "b", Operator: "Exists"}},
	} {
		n, err := ParseNodeSelector(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		wanted := &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: want}}}
		if got := n.Affinity(); !reflect.DeepEqual(got, wanted) {
			t.Errorf("%q: got %v, want %v", in, got, wanted)
		}
	}
}

func TestNodeSelectorMatches(t *testing.T) {
	for _, c := range []struct {
		selector string
		node     map[string]string
		want     bool
	}{
		{"", nil, true},
		{"", map[string]string{"a": "b"}, true},
		{"a=b", map[string]string{"a": "b", "c": "d"}, true},
		{"a=b,c", map[string]string{"a": "b"}, false},
		{"a!=b", nil, true},
		{"a>9", map[string]string{"a": "10"}, true},
		{"a>9", map[string]string{"a": "9"}, false},
		{"!a", map[string]string{"a": ""}, false},
	} {
		n, err := ParseNodeSelector(c.selector)
		if err != nil || n.Matches(c.node) != c.want {
			t.Errorf("%q, %v: got %v, %v, want %v", c.selector, c.node, n.Matches(c.node), err, c.want)
		}
	}
}

// samePool tells what zfs thinks of a name that the configuration accepts, also
// with the suffix that tells pools on PVCs apart.
func samePool(name PoolName) error {
	if _, err := zfs.ParsePoolName(name.String()); err != nil {
		return err
	}
	_, err := zfs.ParsePoolName(name.String() + "-0123abcd")
	return err
}
