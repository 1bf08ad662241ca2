package node

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// NodeGetVolumeStats tells what the volume's subdot uses. ZFS answers statfs(2)
// in a directory that has a project id with that project's quota and use.
func (s *service) NodeGetVolumeStats(_ context.Context, r *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, dot.Invalid("the volume id is missing")
	}
	if r.GetVolumePath() == "" {
		return nil, dot.Invalid("the volume path is missing")
	}
	if err := published(r.GetVolumeId(), r.GetVolumePath()); err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(r.GetVolumePath(), &st); err != nil {
		return nil, fmt.Errorf("statfs %s: %w", r.GetVolumePath(), err)
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: usage(st)}, nil
}

// usage gives bytes and inodes. What is free can be more than what is available:
// the pool may have less left than the quota allows.
func usage(st unix.Statfs_t) []*csi.VolumeUsage {
	block := st.Bsize
	if st.Frsize > 0 {
		block = st.Frsize
	}
	// The counts of a file system fit: the largest pool has 2^63 bytes in use at
	// most.
	return []*csi.VolumeUsage{
		{
			Unit:      csi.VolumeUsage_BYTES,
			Total:     int64(st.Blocks) * block,
			Available: int64(st.Bavail) * block,
			Used:      int64(st.Blocks-st.Bfree) * block,
		},
		{
			Unit:      csi.VolumeUsage_INODES,
			Total:     int64(st.Files),
			Available: int64(st.Ffree),
			Used:      int64(st.Files - st.Ffree),
		},
	}
}

// NodeExpandVolume has the quota raised to the size that the controller
// recorded; the pod sees it at once.
func (s *service) NodeExpandVolume(ctx context.Context, r *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	if r.GetVolumePath() == "" && r.GetVolumeId() != "" {
		return nil, dot.Invalid("the volume path is missing")
	}
	if err := driver.CheckVolume(r.GetVolumeId()); err != nil {
		return nil, err
	}
	if err := published(r.GetVolumeId(), r.GetVolumePath()); err != nil {
		return nil, err
	}
	size, err := s.servers.resize(ctx, r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: size}, nil
}

// published refuses a path at which no dot is mounted.
func published(volume, path string) error {
	at, err := mountedAt(path)
	if err != nil {
		return err
	}
	if at == nil || at.FsType != "zfs" {
		return dot.NotFound("volume %s is not mounted at %s", volume, path)
	}
	return nil
}
