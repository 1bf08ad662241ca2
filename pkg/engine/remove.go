package engine

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// RemoveSubdot removes a subdot's directory with what is in it, and its quota
// and record; nil when it is gone. It never leaves the dataset, and refuses with
// CodeAborted, before it removes anything, a directory that somebody mounts or
// on or below which something is mounted. What lies in the directory's place and
// is none was not made by a claim and stays.
func (e *Engine) RemoveSubdot(ctx context.Context, branch dot.BranchID, subdot dot.Subdot, rec dot.SubdotRecord) error {
	if subdot.IsRoot() {
		return dot.Errorf(dot.CodeInternal, "the root of a dot cannot be removed")
	}
	if err := checkRecord(subdot, rec); err != nil {
		return err
	}
	b, err := e.here(branch)
	if dot.CodeOf(err) == dot.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	unlock, err := e.branches.lock(ctx, branch)
	if err != nil {
		return err
	}
	err = within(ctx, unlock, func() error {
		if err := refuseMountedBelow(b.dataset, subdot); err != nil {
			return err
		}
		h, err := e.openHead(ctx, branch, b.dataset)
		if err != nil {
			return err
		}
		defer h.Close()
		return e.removeDirectory(ctx, h, subdot)
	})
	if err != nil {
		return explain(err, "removing subdot %s of branch %s", subdot, branch)
	}
	if err := e.SetQuota(ctx, branch, subdot, rec, 0); err != nil {
		return err
	}
	if err := e.zfs.InheritProperty(ctx, b.dataset, subdotProperty(rec)); err != nil {
		return explain(err, "forgetting subdot %s of branch %s", subdot, branch)
	}
	return nil
}

func (e *Engine) removeDirectory(ctx context.Context, h head, subdot dot.Subdot) error {
	name := subdot.String()
	dir, err := openDir(h.root, name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		klog.FromContext(ctx).Info("left what lies in a subdot's place", "subdot", name, "why", refusal(h.root, name, err).Error())
		return nil
	}
	if err != nil {
		return refusal(h.root, name, err)
	}
	defer dir.Close()
	if h.readOnly {
		return dot.Precondition("the branch is mounted read-only")
	}
	e.hook.Pass(ctx, BeforeRemoveSubdot)
	r := remover{top: dir, passed: func() { e.hook.Pass(ctx, DuringRemoveSubdot) }}
	if err := r.empty(ctx, dir, 1); err != nil {
		return err
	}
	if err := unix.Unlinkat(int(h.root.Fd()), name, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOENT) {
		return systemError("removing the directory", err)
	}
	e.hook.Pass(ctx, AfterRemoveSubdot)
	return nil
}
