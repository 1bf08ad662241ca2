package engine

import (
	"context"
	"errors"
	"math"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

const (
	// rootProject stands for a dot's root, whose limit is the dataset's refquota.
	rootProject = 0
	// headProject stands, among the limits that were set, for a head as a whole.
	headProject = math.MaxUint32
	// headRoom is what even the smallest head may hold beside its claims.
	headRoom = 16 << 20
)

func quotaProperty(project uint32) zfs.Property {
	if project == rootProject {
		return zfs.PropRefquota
	}
	return zfs.ProjectQuotaProperty(project)
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

// HeadLimit bounds a branch's head as a whole. Project quotas do not: who owns a
// file may charge it to any project (FS_IOC_FSSETXATTR), or to none.
type HeadLimit struct {
	// Known is false where this is not to be touched: a claim on the whole dot
	// has it for its size.
	Known bool
	// Bytes is what all claims together were promised; 0: no limit.
	Bytes int64
	// Origin is what the branch began with, which counts on top; nil: empty.
	Origin *CommitRef
}

// HeadLimitOf gives a branch's limit. There is none unless everything in the head
// lies in a subdot that has a claim with a size now: the limit must never keep a
// claim from its own size because of what others left there.
func HeadLimitOf(d dot.Dot, b dot.Branch, volumes []dot.Volume) HeadLimit {
	sizes := map[dot.Subdot]int64{}
	for _, v := range volumes {
		if v.Branch == b.ID && v.State != dot.Deleting {
			sizes[v.Subdot] = max(sizes[v.Subdot], v.SizeBytes)
		}
	}
	if _, claimed := sizes[dot.RootSubdot]; claimed {
		return HeadLimit{}
	}
	none, sum := HeadLimit{Known: true}, int64(0)
	for subdot := range d.Subdots {
		if sizes[subdot] == 0 || sum > math.MaxInt64/2-sizes[subdot] {
			return none
		}
		sum += sizes[subdot]
	}
	if !d.MadeByPVC {
		return none
	}
	limit := HeadLimit{Known: true, Bytes: sum}
	if o := b.Origin; o != nil {
		limit.Origin = &CommitRef{Branch: o.Branch, Commit: o.Commit}
	}
	return limit
}

// refquota is the limit of a head that began with so many bytes. ZFS charges what
// it needs itself, as for many small files, to the dataset and not to a project.
func (l HeadLimit) refquota(began int64) int64 {
	if l.Bytes == 0 || began > math.MaxInt64/4 {
		return 0
	}
	return l.Bytes + l.Bytes/8 + headRoom + began
}

// SetQuotas applies a limit to a subdot whose directory may not exist yet (0 lifts
// it), and in the same process the limit of the whole head, if that is known. That
// one never fails a call: where the head holds more already, no lower one is set.
func (e *Engine) SetQuotas(ctx context.Context, branch dot.BranchID, subdot dot.Subdot, rec dot.SubdotRecord, bytes int64, limit HeadLimit) error {
	if err := checkRecord(subdot, rec); err != nil {
		return err
	}
	b, err := e.here(branch)
	if err != nil {
		return err
	}
	e.quotas.forget(branch) // until it is known to be set
	props, set := zfs.Props{quotaProperty(rec.ProjectID): quotaValue(bytes)}, map[uint32]int64{rec.ProjectID: bytes}
	want := int64(0)
	if limit.Known && !subdot.IsRoot() {
		want = e.refquota(ctx, limit)
		props[zfs.PropRefquota], set[headProject] = quotaValue(want), limit.Bytes
	}
	err = e.zfs.SetProperties(ctx, b.dataset, props)
	if !subdot.IsRoot() && (errors.Is(err, zfs.ErrQuota) || errors.Is(err, zfs.ErrNoSpace)) {
		err = e.setQuotaOfFull(ctx, b.dataset, quotaProperty(rec.ProjectID), bytes, want)
	}
	if err != nil {
		return explain(err, "limiting subdot %s of branch %s to %d bytes", subdot, branch, bytes)
	}
	e.quotas.note(branch, set)
	return nil
}

// setQuotaOfFull limits a project of a head that holds as much as it may, or more
// than it should. ZFS takes no refquota below that, and no project's quota where
// there is no room, because it writes that into the head. So there is room for a
// moment, and then the larger of the limit that was and the one that should be; or
// the room stays, where a head has grown beyond its limit a little, as ZFS lets it.
func (e *Engine) setQuotaOfFull(ctx context.Context, dataset zfs.Dataset, project zfs.Property, bytes, want int64) error {
	values, err := e.zfs.Get(ctx, dataset, zfs.PropRefquota, zfs.PropReferenced)
	if err != nil {
		return err
	}
	was, err := values.Uint(zfs.PropRefquota)
	if err != nil {
		return err
	}
	held, err := values.Uint(zfs.PropReferenced)
	if err != nil {
		return err
	}
	klog.FromContext(ctx).Info("a branch holds as much as its claims together may", "dataset", dataset, "bytes", held, "limit", was, "wanted", want)
	props := zfs.Props{project: quotaValue(bytes)}
	if was > 0 {
		props[zfs.PropRefquota] = quotaValue(int64(max(was, held)) + headRoom)
	}
	if err := e.zfs.SetProperties(ctx, dataset, props); err != nil || was == 0 {
		return err
	}
	err = e.zfs.SetProperties(ctx, dataset, zfs.Props{zfs.PropRefquota: quotaValue(max(int64(was), want))})
	if errors.Is(err, zfs.ErrQuota) || errors.Is(err, zfs.ErrNoSpace) {
		return nil
	}
	return err
}

// refquota asks what a branch began with. Where that cannot be told there is no
// limit.
func (e *Engine) refquota(ctx context.Context, limit HeadLimit) int64 {
	if limit.Bytes == 0 || limit.Origin == nil {
		return limit.refquota(0)
	}
	began, err := e.CommitBytes(ctx, *limit.Origin)
	if err != nil {
		klog.FromContext(ctx).Info("a branch has no limit as a whole: what it began with cannot be told", "err", err)
		return 0
	}
	return limit.refquota(began)
}

// applyQuota starts no process where this process has set those very limits and
// the file system still shows the subdot's.
func (e *Engine) applyQuota(ctx context.Context, spec PrepareSpec, dirFD int) error {
	project := spec.Record.ProjectID
	subdotIs := e.quotas.is(spec.Branch, project, spec.QuotaBytes) && (project == rootProject || quotaShown(dirFD, spec.QuotaBytes))
	headIs := !spec.Head.Known || project == rootProject || e.quotas.is(spec.Branch, headProject, spec.Head.Bytes)
	if subdotIs && headIs {
		return nil
	}
	return e.SetQuotas(ctx, spec.Branch, spec.Subdot, spec.Record, spec.QuotaBytes, spec.Head)
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
