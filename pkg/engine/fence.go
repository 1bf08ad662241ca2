package engine

import (
	"context"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// Fence stops (true) or allows (false) writes to all heads that inherit
// readonly from Parent.
func (e *Engine) Fence(ctx context.Context, on bool) error {
	if err := e.zfs.SetReadonly(ctx, e.parent, on); err != nil {
		return explain(err, "setting the fence of %s", e.parent)
	}
	klog.FromContext(ctx).Info("set fence", "dataset", e.parent.String(), "readonly", on)
	return nil
}

// FenceImport sets the fence once for each import of the pool, whoever imported it,
// before anything asks which heads are still ours. That it did so is remembered only
// afterwards, so that a crash in between has it done again. always sets it in any
// case: for when nothing promises that it may be off.
func (e *Engine) FenceImport(ctx context.Context, always bool) error {
	if e.mounted.fenced && !always {
		return nil
	}
	if !e.madeFenced {
		if err := e.Fence(ctx, true); err != nil {
			return err
		}
	}
	return e.mounted.rememberFence()
}

// InheritFence makes a head inherit the fence (another pool could take it over),
// or not (there is no other copy).
func (e *Engine) InheritFence(ctx context.Context, branch dot.BranchID, inherit bool) error {
	b, err := e.here(branch)
	if err != nil {
		return err
	}
	if inherit {
		err = e.zfs.InheritReadonly(ctx, b.dataset)
	} else {
		err = e.zfs.SetReadonly(ctx, b.dataset, b.readOnly)
	}
	return explain(err, "setting who fences branch %s", branch)
}

// AdoptReadOnly makes a dataset that nobody knows read-only, and nothing else.
func (e *Engine) AdoptReadOnly(ctx context.Context, d zfs.Dataset) error {
	if above, ok := d.Parent(); !ok || above != e.parent {
		return dot.Invalid("%s does not lie in %s", d, e.parent)
	}
	return explain(e.zfs.SetReadonly(ctx, d, true), "adopting %s", d)
}
