package engine

import (
	"context"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// rootProject stands for a dot's root, whose limit is the dataset's refquota.
const rootProject = 0

func quotaProperty(project uint32) zfs.Property {
	if project == rootProject {
		return zfs.PropRefquota
	}
	return zfs.Property("projectquota@" + strconv.FormatUint(uint64(project), 10))
}

func quotaValue(bytes int64) string {
	if bytes <= 0 {
		return "none"
	}
	return strconv.FormatInt(bytes, 10)
}

// quotaMemo remembers the limits that this process has set.
type quotaMemo struct {
	mu  sync.Mutex
	set map[dot.BranchID]map[uint32]int64
}

func (m *quotaMemo) note(id dot.BranchID, quotas map[uint32]int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.set == nil {
		m.set = map[dot.BranchID]map[uint32]int64{}
	}
	if m.set[id] == nil {
		m.set[id] = map[uint32]int64{}
	}
	for project, bytes := range quotas {
		m.set[id][project] = bytes
	}
}

func (m *quotaMemo) is(id dot.BranchID, project uint32, bytes int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	got, known := m.set[id][project]
	return known && got == bytes
}

func (m *quotaMemo) forget(id dot.BranchID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.set, id)
}

// SetQuota applies a limit to a subdot whose directory may not exist yet; 0
// lifts it.
func (e *Engine) SetQuota(ctx context.Context, branch dot.BranchID, subdot dot.Subdot, rec dot.SubdotRecord, bytes int64) error {
	if err := checkRecord(subdot, rec); err != nil {
		return err
	}
	b, err := e.here(branch)
	if err != nil {
		return err
	}
	e.quotas.forget(branch) // until it is known to be set
	if err := e.zfs.SetProperties(ctx, b.dataset, zfs.Props{quotaProperty(rec.ProjectID): quotaValue(bytes)}); err != nil {
		return explain(err, "limiting subdot %s of branch %s to %d bytes", subdot, branch, bytes)
	}
	e.quotas.note(branch, map[uint32]int64{rec.ProjectID: bytes})
	return nil
}

// applyQuota starts no process where this process has set that very limit and
// the file system still shows it.
func (e *Engine) applyQuota(ctx context.Context, spec PrepareSpec, dirFD int) error {
	project := spec.Record.ProjectID
	if e.quotas.is(spec.Branch, project, spec.QuotaBytes) && (project == rootProject || quotaShown(dirFD, spec.QuotaBytes)) {
		return nil
	}
	return e.SetQuota(ctx, spec.Branch, spec.Subdot, spec.Record, spec.QuotaBytes)
}

// quotaShown compares a project's quota with the size that statfs(2) gives for
// its directory, which ZFS counts in whole blocks.
func quotaShown(dirFD int, bytes int64) bool {
	if bytes <= 0 {
		return true
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(dirFD, &st); err != nil || st.Bsize <= 0 {
		return false
	}
	return int64(st.Blocks) == bytes/st.Bsize
}

// checkRecord: project 0 is everybody's, so that only the root may have it.
func checkRecord(subdot dot.Subdot, rec dot.SubdotRecord) error {
	if subdot.IsZero() || subdot.IsRoot() != (rec.ProjectID == rootProject) {
		return dot.Errorf(dot.CodeInternal, "subdot %q has project id %d", subdot, rec.ProjectID)
	}
	return nil
}
