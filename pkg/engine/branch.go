package engine

import (
	"context"
	"errors"
	"maps"
	"strconv"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// CommitRef names a commit as the registry knows it.
type CommitRef struct {
	// Branch is the branch that the commit was made on, wherever it lies now.
	Branch dot.BranchID
	Commit dot.CommitID
	// GUID, if not 0, must be that of the snapshot found.
	GUID uint64
}

// BranchSpec is a branch to make.
type BranchSpec struct {
	Dot    dot.Dot
	Branch dot.Branch
	// Volumes are the claims on the branch, recorded with it. Their sizes become
	// quotas at once.
	Volumes []dot.Volume
	// From is the commit to start at; nil: empty.
	From *CommitRef
}

// CreateBranch makes a branch's dataset in one process. A dataset of the same
// branch and dot is what a retry meets: nil, and nothing is compared or changed
// beyond that. CodeNotFound when the commit is not on this pool, CodeExhausted
// without room.
func (e *Engine) CreateBranch(ctx context.Context, spec BranchSpec) error {
	unlock, err := e.branches.lock(ctx, spec.Branch.ID)
	if err != nil {
		return err
	}
	defer unlock()
	if there, ok := e.index.branch(spec.Branch.ID); ok {
		return sameDot(spec.Branch, there.dot)
	}
	props, err := spec.props()
	if err != nil {
		return err
	}
	dataset, err := e.parent.Child(spec.Branch.ID.String())
	if err != nil {
		return dot.Invalid("branch %s: %w", spec.Branch.ID, err)
	}
	if spec.From == nil {
		err = e.zfs.CreateFilesystem(ctx, dataset, props)
	} else {
		err = e.clone(ctx, *spec.From, dataset, props)
	}
	fresh := err == nil
	if errors.Is(err, zfs.ErrExists) {
		err = e.finishBranch(ctx, spec, dataset, props)
	}
	if err != nil {
		return explain(err, "making branch %s of dot %s", spec.Branch.Name, spec.Dot.FullName)
	}
	e.index.change(func(x *index) {
		x.branches[spec.Branch.ID] = indexedBranch{dot: spec.Branch.Dot, dataset: dataset, readOnly: spec.Branch.ReadOnly}
	})
	if fresh {
		e.quotas.note(spec.Branch.ID, spec.quotas())
		if limit := spec.headLimit(); limit.Known {
			e.quotas.note(spec.Branch.ID, map[uint32]int64{headProject: limit.Bytes})
		}
		e.mounted.mark(ctx, spec.Branch.ID) // it has no intent log yet
	}
	klog.FromContext(ctx).Info("created branch", "dot", spec.Dot.FullName.String(), "branch", spec.Branch.ID.String(), "clone", spec.From != nil)
	return nil
}

func sameDot(b dot.Branch, there dot.ID) error {
	if there != b.Dot {
		return dot.Errorf(dot.CodeExists, "branch %s exists and belongs to dot %s, not %s", b.ID, there, b.Dot)
	}
	return nil
}

// clone looks a commit up and clones it. A commit that a promote moves
// meanwhile is looked up again when the promote is over.
func (e *Engine) clone(ctx context.Context, from CommitRef, target zfs.Dataset, props zfs.Props) error {
	source, err := e.index.find(from)
	if err != nil {
		return err
	}
	err = e.zfs.Clone(ctx, source.snapshot, target, props)
	if !errors.Is(err, zfs.ErrNotFound) {
		return err
	}
	unlock, lockErr := e.structure.lock(ctx, struct{}{})
	if lockErr != nil {
		return lockErr
	}
	defer unlock()
	if source, err = e.index.find(from); err != nil {
		return err
	}
	return e.zfs.Clone(ctx, source.snapshot, target, props)
}

// finishBranch looks at a dataset that has the new branch's name: it is the same
// branch, or one that a power cut parted from its properties, which is finished.
func (e *Engine) finishBranch(ctx context.Context, spec BranchSpec, dataset zfs.Dataset, props zfs.Props) error {
	values, err := e.zfs.Get(ctx, dataset)
	if err != nil {
		return err
	}
	if isOurs(values) {
		_, found, _, err := decodeBranch(values)
		if err != nil {
			return err
		}
		return sameDot(spec.Branch, found.Dot)
	}
	origin := unsetInListing
	if spec.From != nil {
		source, err := e.index.find(*spec.From)
		if err != nil {
			return err
		}
		origin = source.snapshot.String()
	}
	if got, ok := values[zfs.PropOrigin]; ok && got.Value != origin {
		return dot.Errorf(dot.CodeExists, "dataset %s exists, was not made by dotmesh and is a clone of %s", dataset, got.Value)
	}
	return e.zfs.SetProperties(ctx, dataset, props)
}

// props are all properties of the dataset, so that one process makes it.
func (s BranchSpec) props() (zfs.Props, error) {
	props, err := encodeDot(s.Dot)
	if err != nil {
		return nil, err
	}
	branch, err := encodeBranch(s.Branch)
	if err != nil {
		return nil, err
	}
	maps.Copy(props, branch)
	for _, v := range s.Volumes {
		rec := s.Dot.Subdots[v.Subdot]
		if err := checkRecord(v.Subdot, rec); err != nil {
			return nil, err
		}
		volume, err := encodeVolume(v, rec)
		if err != nil {
			return nil, err
		}
		maps.Copy(props, volume)
	}
	props[zfs.PropCanmount] = "noauto"
	// No other pool has a copy yet, so the fence does not reach the head.
	props[zfs.PropReadonly] = off
	if s.Branch.ReadOnly {
		props[zfs.PropReadonly] = on
	}
	if c := s.Dot.Settings.Compression; !c.IsZero() {
		props[zfs.PropCompression] = c.String()
	}
	if r := s.Dot.Settings.RecordSize; r != 0 {
		props[zfs.PropRecordsize] = strconv.FormatUint(uint64(r), 10)
	}
	for project, bytes := range s.quotas() {
		// An empty head has no quota to lift.
		if bytes > 0 || s.From != nil && project != rootProject {
			props[quotaProperty(project)] = quotaValue(bytes)
		}
	}
	if limit := s.headLimit(); limit.Bytes > 0 {
		props[zfs.PropRefquota] = quotaValue(limit.refquota(0))
	}
	return props, nil
}

// headLimit is that of a branch that begins empty. Another gets its limit when it
// is mounted: ZFS would not make one that holds more than its limit.
func (s BranchSpec) headLimit() HeadLimit {
	if s.From != nil {
		return HeadLimit{}
	}
	return HeadLimitOf(s.Dot, s.Branch, s.Volumes)
}

// quotas are the limits by project of all subdots that the dot has ever had: a
// clone brings along its source's, also of subdots that nobody claims now.
func (s BranchSpec) quotas() map[uint32]int64 {
	quotas := map[uint32]int64{}
	for _, rec := range s.Dot.Subdots {
		quotas[rec.ProjectID] = 0
	}
	for _, v := range s.Volumes {
		project := s.Dot.Subdots[v.Subdot].ProjectID
		quotas[project] = max(quotas[project], v.SizeBytes)
	}
	return quotas
}
