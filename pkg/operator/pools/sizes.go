package pools

import (
	"sync"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// sizes are those of the pools in files of nodes, by node, as far as servers have told.
// A size stays while its server is silent or being replaced.
type sizes struct {
	mu    sync.Mutex
	bytes map[string]int64
	known bool // of each server that has been up; false before the first observation
}

// note takes what an observation shows, and forgets nodes that have no pool any more.
func (s *sizes) note(state plan.State, statuses map[string]Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := map[string]int64{}
	for _, n := range state.Nodes {
		if size := s.bytes[n.Name]; size > 0 && n.Labels[specs.LabelServer] == specs.True {
			now[n.Name] = size
		}
	}
	for _, server := range state.Servers {
		if size := statuses[server.Name].DiskBytes; size > 0 && server.PVC == "" {
			now[server.Node] = size
		}
	}
	s.bytes, s.known = now, true
	for _, server := range state.Servers {
		if server.PVC == "" && server.WasReady && now[server.Node] == 0 {
			s.known = false
		}
	}
}

// Largest is the largest size in bytes; false while it is not known of each server that
// has been up. The settings ask, in a goroutine of their own.
func (p *Pools) Largest() (int64, bool) {
	p.sizes.mu.Lock()
	defer p.sizes.mu.Unlock()
	var largest int64
	for _, size := range p.sizes.bytes {
		largest = max(largest, size)
	}
	return largest, p.sizes.known
}
