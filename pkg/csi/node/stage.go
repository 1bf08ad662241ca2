package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// NodeStageVolume has the branch prepared and mounts its dataset.
func (s *service) NodeStageVolume(ctx context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	if err := checkPath("staging path", r.GetStagingTargetPath()); err != nil {
		return nil, err
	}
	if err := s.stageVolume(ctx, r); err != nil {
		return nil, s.unstaged(ctx, headIn(r.GetStagingTargetPath()), err)
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

func (s *service) stageVolume(ctx context.Context, r *csi.NodeStageVolumeRequest) error {
	mode, err := driver.ParseCapability(r.GetVolumeCapability())
	if err != nil {
		return err
	}
	if err := driver.CheckVolume(r.GetVolumeId()); err != nil {
		return err
	}
	p, err := s.prepare(ctx, r.GetVolumeId(), r.GetPublishContext())
	if err != nil {
		return err
	}
	err = s.passing(ctx, makeStaging, func() error {
		return makeDirectories(r.GetStagingTargetPath(), headIn(r.GetStagingTargetPath()))
	})
	if err != nil {
		return fmt.Errorf("make the staging directory: %w", err)
	}
	if err := s.stage(ctx, p, headIn(r.GetStagingTargetPath()), mode.Flags); err != nil {
		return fmt.Errorf("mount dataset %s: %w", p.dataset, err)
	}
	return nil
}

// headIn is where the dataset is mounted: in a directory of the staging path and
// not at it. Before kubelet has a volume unstaged it looks for other mounts of
// what is mounted at the staging path, and goes no further while there are any
// (GetMountRefs in k8s.io/mount-utils, GenerateUnmountDeviceFunc in kubelet). The
// volumes of one dot share a dataset, so that each would wait for the others.
func headIn(staging string) string { return filepath.Join(staging, "head") }

func makeDirectories(paths ...string) error {
	for _, path := range paths {
		if err := os.Mkdir(path, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// prepared is what the server said a volume is, checked.
type prepared struct {
	dataset  string
	subdot   dot.Subdot // RootSubdot for the whole dot
	readOnly bool
}

// prepare asks the server of the volume's pool. It tells the truth of now.
func (s *service) prepare(ctx context.Context, volume string, publishContext map[string]string) (prepared, error) {
	pool, err := dot.ParsePoolID(publishContext[driver.PublishContextPool])
	if err != nil {
		return prepared{}, dot.Precondition("the volume was not attached to this node by the controller: its publish context names no pool; delete the pod so that it is attached again")
	}
	res, err := s.servers.of(pool).PrepareVolume(ctx, connect.NewRequest(&dotmeshv1.PrepareVolumeRequest{
		Volume: volume, Node: s.node,
	}))
	if err != nil {
		return prepared{}, err
	}
	p := prepared{dataset: res.Msg.GetDataset(), subdot: dot.RootSubdot, readOnly: res.Msg.GetReadOnly()}
	if p.dataset == "" || strings.HasPrefix(p.dataset, "-") || strings.ContainsAny(p.dataset, " ,@#\\") {
		return prepared{}, fmt.Errorf("the server named a dataset %q that cannot be", p.dataset)
	}
	if name := res.Msg.GetSubdot(); name != "" {
		if p.subdot, err = dot.ParseSubdot(name); err != nil {
			return prepared{}, fmt.Errorf("the server named a subdot that cannot be: %w", err)
		}
	}
	return p, nil
}

// stage mounts the dataset unless it is there. Something else in its place is of
// an earlier attempt (the branch's head was replaced since) and goes first.
func (s *service) stage(ctx context.Context, p prepared, path string, flags []string) error {
	at, err := mountedAt(path)
	if err != nil {
		return err
	}
	if at != nil && isDataset(at, p.dataset) && readOnly(at) == p.readOnly {
		return nil
	}
	if at != nil {
		klog.FromContext(ctx).Info("unmounting what an earlier attempt left", "path", path, "source", at.Source, "want", p.dataset)
		if err := s.unmount(ctx, path); err != nil {
			return err
		}
	}
	// -i: no helper of the distribution is wanted, it may be of another version
	// than the kernel's module.
	err = s.passing(ctx, mountHead, func() error {
		return s.mounter.MountSensitiveWithoutSystemdWithMountFlags(p.dataset, path, "zfs", stageOptions(p.readOnly, flags), nil, []string{"-i"})
	})
	if err != nil {
		return err
	}
	at, err = mountedAt(path)
	switch {
	case err != nil:
		return err
	case at == nil:
		return errors.New("mount succeeded and nothing is mounted")
	case !isDataset(at, p.dataset):
		return fmt.Errorf("%s (%s) is mounted instead", at.Source, at.FsType)
	}
	return nil
}

// stageOptions never holds "rw", which would override the dataset's readonly
// property. ZFS takes devices=off only as a mount option on Linux, so that it is
// given here.
func stageOptions(readOnly bool, flags []string) []string {
	options := append([]string{"nodev"}, flags...)
	if !slices.Contains(flags, "relatime") {
		options = append(options, "noatime")
	}
	if readOnly {
		options = append(options, "ro")
	}
	slices.Sort(options)
	return slices.Compact(options)
}

func checkPath(what, path string) error {
	switch {
	case path == "":
		return dot.Invalid("the %s is missing", what)
	case !strings.HasPrefix(path, "/"):
		return dot.Invalid("the %s %q is not absolute", what, path)
	}
	return nil
}
