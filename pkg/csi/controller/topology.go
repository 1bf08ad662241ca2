package controller

import (
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// preferred lists the nodes of a requirement in the order in which a new dot
// would like to be placed.
func (s *service) preferred(r *csi.TopologyRequirement) ([]string, error) {
	all := slices.Concat(r.GetPreferred(), r.GetRequisite())
	var nodes []string
	reachable := len(all) == 0
	for _, t := range all {
		if !s.ours(t) {
			continue
		}
		reachable = true
		if node := t.GetSegments()[driver.TopologyNode]; node != "" && !slices.Contains(nodes, node) {
			nodes = append(nodes, node)
		}
	}
	if !reachable {
		return nil, dot.Errorf(dot.CodeExhausted, "no volume can be placed where it is wanted: this is the dotmesh cluster %q, and every node that was named belongs to another: give the controller and the nodes the same --cluster-name", s.cluster)
	}
	return nodes, nil
}

// ours tells whether a segment can belong to this cluster.
func (s *service) ours(t *csi.Topology) bool {
	cluster, said := t.GetSegments()[driver.TopologyCluster]
	return !said || cluster == s.cluster
}

// everywhere is the topology of every volume: wherever dotmesh runs.
func (s *service) everywhere() []*csi.Topology {
	return []*csi.Topology{{Segments: map[string]string{driver.TopologyCluster: s.cluster}}}
}
