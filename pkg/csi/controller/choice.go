package controller

import (
	"fmt"
	"strings"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// choice is the place of a volume, as somebody chose it. Zero values are left to
// the server: the default, or for a restore what its source had.
type choice struct {
	Namespace dot.Namespace
	Name      dot.Name
	Subdot    dot.Subdot
	Branch    dot.BranchName
}

// The names under which a PVC's annotations and a StorageClass's parameters
// choose the parts of a place.
const (
	keyNamespace = "dotmeshNamespace"
	keyName      = "dotmeshName"
	keySubdot    = "dotmeshSubdot"
	keyBranch    = "dotmeshBranch"
)

// set parses one part. It tells whether key is one at all.
func (c *choice) set(key, value string) (known bool, err error) {
	switch key {
	case keyNamespace:
		c.Namespace, err = dot.ParseNamespace(value)
	case keyName:
		c.Name, err = dot.ParseName(value)
	case keySubdot:
		c.Subdot, err = dot.ParseSubdot(value)
	case keyBranch:
		c.Branch, err = dot.ParseBranchName(value)
	default:
		return false, nil
	}
	return true, err
}

// or fills what c leaves open from other.
func (c choice) or(other choice) choice {
	if c.Namespace.IsZero() {
		c.Namespace = other.Namespace
	}
	if c.Name.IsZero() {
		c.Name = other.Name
	}
	if c.Subdot.IsZero() {
		c.Subdot = other.Subdot
	}
	if c.Branch.IsZero() {
		c.Branch = other.Branch
	}
	return c
}

// chosenFor gives the place that a volume has got.
func chosenFor(v *dotmeshv1.Volume) (c choice, err error) {
	namespace, name, _ := strings.Cut(v.GetDot(), "/")
	if c.Namespace, err = dot.ParseNamespace(namespace); err != nil {
		return choice{}, err
	}
	if c.Name, err = dot.ParseName(name); err != nil {
		return choice{}, err
	}
	if c.Subdot, err = dot.ParseSubdot(v.GetSubdot()); err != nil {
		return choice{}, err
	}
	c.Branch, err = dot.ParseBranchName(v.GetBranch())
	return c, err
}

// in says where a bad value stands.
func in(where, key string, err error) error {
	return dot.Errorf(dot.CodeOf(err), "%s %s: %w", where, key, err)
}

func quoted(keys []string) string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = fmt.Sprintf("%q", k)
	}
	return strings.Join(all, ", ")
}
