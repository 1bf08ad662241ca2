package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// maxMounts bounds how many mounts may lie on top of each other at one path.
const maxMounts = 32

// NodeUnpublishVolume unmounts the target and removes the empty directory. It
// needs no server.
func (s *service) NodeUnpublishVolume(ctx context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, dot.Invalid("the volume id is missing")
	}
	if err := checkPath("target path", r.GetTargetPath()); err != nil {
		return nil, err
	}
	if err := s.unmount(ctx, r.GetTargetPath()); err != nil {
		return nil, err
	}
	if err := s.passing(ctx, removeTarget, func() error { return remove(r.GetTargetPath()) }); err != nil {
		return nil, err
	}
	err := s.passing(ctx, releaseWriter, func() error { return s.writers.release(r.GetVolumeId(), r.GetTargetPath()) })
	if err != nil {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// NodeUnstageVolume unmounts the dataset; the staging path itself is kubelet's.
func (s *service) NodeUnstageVolume(ctx context.Context, r *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, dot.Invalid("the volume id is missing")
	}
	if err := checkPath("staging path", r.GetStagingTargetPath()); err != nil {
		return nil, err
	}
	head := headIn(r.GetStagingTargetPath())
	if err := s.unmount(ctx, head); err != nil {
		return nil, err
	}
	if err := s.passing(ctx, removeStaging, func() error { return remove(head) }); err != nil {
		return nil, err
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

// unmount takes away whatever is mounted at path until nothing is.
func (s *service) unmount(ctx context.Context, path string) error {
	for range maxMounts {
		at, err := mountedAt(path)
		if err != nil || at == nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
		if err := s.passing(ctx, unmountOne, func() error { return s.mounter.Unmount(path) }); err != nil {
			return fmt.Errorf("unmount %s: %w", at.Source, err)
		}
	}
	return fmt.Errorf("%s has still something mounted after %d unmounts", path, maxMounts)
}

// remove takes away a mount point: an empty directory on which nothing is
// mounted. The kernel refuses any other, and nothing here insists.
func remove(path string) error {
	err := os.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("remove the mount point: %w", err)
}
