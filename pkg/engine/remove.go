package engine

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// RemoveSubdot removes a subdot's directory with what is in it, if it was made for
// a claim, and its quota and record; nil when it is gone. It never leaves the
// dataset, and refuses with CodeAborted, before it removes anything, a directory
// that somebody mounts or on or below which something is mounted. A directory
// that was not made for a claim on this subdot of this dot stays, with its record
// and without a quota, and so does what is no directory.
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
	stays := false
	err = within(ctx, unlock, func() (err error) {
		if err := refuseMountedBelow(b.dataset, subdot); err != nil {
			return err
		}
		h, err := e.openHead(ctx, branch, b.dataset)
		if err != nil {
			return err
		}
		defer h.Close()
		stays, err = e.removeDirectory(ctx, h, subdot, rec, b.dot)
		return err
	})
	if err != nil {
		return explain(err, "removing subdot %s of branch %s", subdot, branch)
	}
	if err := e.SetQuotas(ctx, branch, subdot, rec, 0, HeadLimit{}); err != nil {
		return err
	}
	if stays {
		return nil
	}
	if err := e.zfs.InheritProperty(ctx, b.dataset, subdotProperty(rec)); err != nil {
		return explain(err, "forgetting subdot %s of branch %s", subdot, branch)
	}
	return nil
}

func (e *Engine) removeDirectory(ctx context.Context, h head, subdot dot.Subdot, rec dot.SubdotRecord, of dot.ID) (stays bool, err error) {
	name := subdot.String()
	dir, err := openDir(h.root, name)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		klog.FromContext(ctx).Info("left what lies in a subdot's place", "subdot", name, "why", refusal(h.root, name, err).Error())
		return false, nil
	}
	if err != nil {
		return false, refusal(h.root, name, err)
	}
	defer dir.Close()
	if made, err := isMade(dir, of, rec); err != nil || !made {
		klog.FromContext(ctx).Info("left a directory that was not made for a claim", "subdot", name)
		return true, err
	}
	if h.readOnly {
		return false, h.refuseReadOnly("the directory cannot be removed")
	}
	e.hook.Pass(ctx, BeforeRemoveSubdot)
	r := remover{top: dir, passed: func() { e.hook.Pass(ctx, DuringRemoveSubdot) }}
	if err := r.empty(ctx, dir, 1); err != nil {
		return false, err
	}
	if err := unix.Unlinkat(int(h.root.Fd()), name, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOENT) {
		return false, systemError("removing the directory", err)
	}
	e.hook.Pass(ctx, AfterRemoveSubdot)
	return false, nil
}
