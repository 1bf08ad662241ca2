package node

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// NodePublishVolume binds the volume's subdot to the target path. It refuses
// when what is staged is not what the registry says now.
func (s *service) NodePublishVolume(ctx context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if err := checkPath("target path", r.GetTargetPath()); err != nil {
		return nil, err
	}
	if err := s.publishVolume(ctx, r); err != nil {
		return nil, unpublished(r.GetTargetPath(), err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (s *service) publishVolume(ctx context.Context, r *csi.NodePublishVolumeRequest) error {
	mode, err := driver.ParseCapability(r.GetVolumeCapability())
	if err != nil {
		return err
	}
	if err := checkPath("staging path", r.GetStagingTargetPath()); err != nil {
		return err
	}
	if err := driver.CheckVolume(r.GetVolumeId()); err != nil {
		return err
	}
	if mode.OnePod {
		err := s.passing(ctx, claimWriter, func() error { return s.writers.claim(r.GetVolumeId(), r.GetTargetPath()) })
		if err != nil {
			return err
		}
	}
	p, err := s.prepare(ctx, r.GetVolumeId(), r.GetPublishContext())
	if err != nil {
		return err
	}
	subdot, err := openStaged(headIn(r.GetStagingTargetPath()), p)
	if err != nil {
		return err
	}
	defer subdot.Close()
	// A bind of a read-only mount is read-only whatever was asked for.
	ro := r.GetReadonly() || mode.ReadOnly || p.readOnly
	return s.publish(ctx, subdot, r.GetTargetPath(), ro)
}

// openStaged opens the volume's subdot in what is staged.
func openStaged(path string, p prepared) (*os.File, error) {
	at, err := mountedAt(path)
	switch {
	case err != nil:
		return nil, err
	case at == nil:
		return nil, dot.Precondition("the volume is not staged: nothing is mounted at %s; delete the pod so that it is staged again", path)
	case !isDataset(at, p.dataset):
		return nil, dot.Precondition("%s is staged and the volume is on %s now: its pods on this node must be deleted before it can be used", at.Source, p.dataset)
	}
	root, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("open what is staged: %w", err)
	}
	defer root.Close()
	id, err := mountID(root)
	if err != nil {
		return nil, err
	}
	if id != at.ID {
		return nil, dot.Unavailable("the mount at %s changed meanwhile", path)
	}
	subdot, err := openSubdot(root, p.subdot)
	if err != nil {
		return nil, err
	}
	in, onZFS, err := identify(subdot)
	if err == nil {
		var of identity
		if of, _, err = identify(root); err == nil && (!onZFS || in.dev != of.dev) {
			err = dot.Precondition("subdot %s is not a directory of dataset %s", p.subdot, p.dataset)
		}
	}
	if err != nil {
		subdot.Close()
		return nil, err
	}
	return subdot, nil
}

// publish binds an open directory to target unless that is so already.
func (s *service) publish(ctx context.Context, subdot *os.File, target string, ro bool) error {
	want, _, err := identify(subdot)
	if err != nil {
		return err
	}
	if err := s.passing(ctx, makeTarget, func() error { return makeDirectories(target) }); err != nil {
		return fmt.Errorf("make the target directory: %w", err)
	}
	at, err := mountedAt(target)
	if err != nil {
		return err
	}
	if at != nil {
		same, err := isMounted(target, want)
		switch {
		case err != nil:
			return err
		case same && readOnly(at) && !ro:
			return dot.Errorf(dot.CodeExists, "the volume is published read-only at %s and cannot become writable there", target)
		case same && readOnly(at) == ro:
			return nil
		case same:
			return s.readOnly(ctx, target)
		}
		klog.FromContext(ctx).Info("unmounting what an earlier attempt left", "path", target, "source", at.Source)
		if err := s.unmount(ctx, target); err != nil {
			return err
		}
	}
	if err := s.passing(ctx, bindSubdot, func() error { return bind(subdot, target) }); err != nil {
		return err
	}
	same, err := isMounted(target, want)
	if err == nil && !same {
		err = fmt.Errorf("something else than the subdot is at %s after it was mounted", target)
	}
	if err == nil && ro {
		err = s.readOnly(ctx, target)
	}
	if err != nil {
		return errors.Join(err, s.unmount(context.WithoutCancel(ctx), target))
	}
	return nil
}

func (s *service) readOnly(ctx context.Context, target string) error {
	return s.passing(ctx, makeReadOnly, func() error { return remountReadOnly(target) })
}
