package engine

import (
	"context"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// CheckReset refuses, with CodePrecondition and the holder's name, while the
// branch's head is mounted anywhere on this machine.
func (e *Engine) CheckReset(old dot.BranchID) error {
	b, err := e.here(old)
	if err != nil {
		return err
	}
	if found := holders(b.dataset); len(found) > 0 {
		return dot.Precondition("the branch is mounted by %s: stop what uses it, then reset", found[0])
	}
	return nil
}

// Reset makes the branch that replaces the head of old: CreateBranch from one of
// its commits, after CheckReset. The caller then swaps the two in the registry
// and calls Retire. Nothing is rolled back.
func (e *Engine) Reset(ctx context.Context, old dot.BranchID, spec BranchSpec) error {
	if spec.From == nil {
		return dot.Invalid("a reset needs the commit to go back to")
	}
	if err := e.CheckReset(old); err != nil {
		return err
	}
	return e.CreateBranch(ctx, spec)
}

// Retire puts a branch out of sight: its head becomes read-only and its dataset
// says that it is hidden.
func (e *Engine) Retire(ctx context.Context, b dot.Branch) error {
	b.Hidden = true
	props, err := encodeBranch(b)
	if err != nil {
		return err
	}
	props[zfs.PropReadonly] = on
	return e.describe(ctx, b.ID, props)
}
