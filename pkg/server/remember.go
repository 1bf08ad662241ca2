package server

import (
	"sync"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// remembered is a volume and its branch as they were read, or remembered from an
// earlier call.
type remembered struct {
	volume store.Record[dot.Volume]
	branch dot.Branch
	// fresh: read by this call. What is not may have changed since, so that who
	// uses it compares the volume's revision and the branch's epoch.
	fresh bool
}

// memory keeps what the last calls read of volumes, so that the next commit of one
// need not read it: what a commit decides on is compared by its first transaction
// anyway. It is safe for use by several goroutines.
type memory struct {
	mu       sync.Mutex
	byVolume map[dot.VolumeID]remembered
}

const memorySize = 4096

func newMemory() *memory { return &memory{byVolume: map[dot.VolumeID]remembered{}} }

func (m *memory) recall(id dot.VolumeID) (remembered, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.byVolume[id]
	return r, ok
}

func (m *memory) keep(r remembered) {
	r.fresh = false
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.byVolume) >= memorySize {
		clear(m.byVolume)
	}
	m.byVolume[r.volume.Value.ID] = r
}

func (m *memory) forget(id dot.VolumeID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byVolume, id)
}

// clear forgets everything: revisions tell nothing of a registry that was put back.
func (m *memory) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.byVolume)
}
