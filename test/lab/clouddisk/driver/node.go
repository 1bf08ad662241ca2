package driver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	mount "k8s.io/mount-utils"
	"k8s.io/utils/exec"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/test/lab/clouddisk"
)

const (
	fileSystem = "ext4"
	// maxDisks is what a machine's PCI bus has left for them.
	maxDisks = 20
)

// Node mounts the disks of the machine that it runs in.
type Node struct {
	csi.UnimplementedNodeServer
	name    string
	mounter *mount.SafeFormatAndMount
}

// NewNode is the service of the Kubernetes node of that name.
func NewNode(name string) *Node {
	return &Node{name: name, mounter: mount.NewSafeFormatAndMount(mount.New(""), exec.New())}
}

// NodeGetInfo is of the CSI specification, as all here is.
func (n *Node) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.name, MaxVolumesPerNode: maxDisks}, nil
}

// NodeGetCapabilities is staging and expansion.
func (n *Node) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	res := &csi.NodeGetCapabilitiesResponse{}
	for _, t := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		res.Capabilities = append(res.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: t}},
		})
	}
	return res, nil
}

// NodeStageVolume waits for the disk, and formats and mounts it unless it is to
// be used as a block device.
func (n *Node) NodeStageVolume(ctx context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	if r.GetVolumeId() == "" || r.GetStagingTargetPath() == "" {
		return nil, dot.Invalid("the volume id or the staging path is missing")
	}
	if err := checkCapability(r.GetVolumeCapability()); err != nil {
		return nil, err
	}
	device, err := waitDevice(ctx, r.GetVolumeId(), 0)
	if err != nil || r.GetVolumeCapability().GetBlock() != nil {
		return &csi.NodeStageVolumeResponse{}, err
	}
	target := r.GetStagingTargetPath()
	mounted, err := n.mounted(target)
	if err != nil || mounted {
		return &csi.NodeStageVolumeResponse{}, err
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return nil, err
	}
	return &csi.NodeStageVolumeResponse{}, n.mounter.FormatAndMount(device, target, fileSystem, r.GetVolumeCapability().GetMount().GetMountFlags())
}

// NodeUnstageVolume unmounts it.
func (n *Node) NodeUnstageVolume(_ context.Context, r *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if r.GetVolumeId() == "" || r.GetStagingTargetPath() == "" {
		return nil, dot.Invalid("the volume id or the staging path is missing")
	}
	return &csi.NodeUnstageVolumeResponse{}, mount.CleanupMountPoint(r.GetStagingTargetPath(), n.mounter, true)
}

// NodePublishVolume binds the device, or what is staged, to the pod's path.
func (n *Node) NodePublishVolume(ctx context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	target := r.GetTargetPath()
	if r.GetVolumeId() == "" || r.GetStagingTargetPath() == "" || target == "" {
		return nil, dot.Invalid("the volume id, the staging path or the target path is missing")
	}
	if err := checkCapability(r.GetVolumeCapability()); err != nil {
		return nil, err
	}
	mounted, err := n.mounted(target)
	if err != nil || mounted {
		return &csi.NodePublishVolumeResponse{}, err
	}
	source := r.GetStagingTargetPath()
	if r.GetVolumeCapability().GetBlock() != nil {
		if source, err = waitDevice(ctx, r.GetVolumeId(), 0); err == nil {
			err = makeFile(target)
		}
	} else {
		err = os.MkdirAll(target, 0o750)
	}
	if err != nil {
		return nil, err
	}
	options := []string{"bind"}
	if r.GetReadonly() {
		options = append(options, "ro")
	}
	return &csi.NodePublishVolumeResponse{}, n.mounter.Mount(source, target, "", options)
}

// mounted tells whether something is mounted at a path, which need not exist.
func (n *Node) mounted(path string) (bool, error) {
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return false, nil
	}
	return n.mounter.IsMountPoint(path)
}

func makeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// NodeUnpublishVolume undoes it.
func (n *Node) NodeUnpublishVolume(_ context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if r.GetVolumeId() == "" || r.GetTargetPath() == "" {
		return nil, dot.Invalid("the volume id or the target path is missing")
	}
	return &csi.NodeUnpublishVolumeResponse{}, mount.CleanupMountPoint(r.GetTargetPath(), n.mounter, true)
}

// NodeExpandVolume waits until the guest sees the disk's new size, and makes the
// file system as large.
func (n *Node) NodeExpandVolume(ctx context.Context, r *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	if r.GetVolumeId() == "" || r.GetVolumePath() == "" {
		return nil, dot.Invalid("the volume id or the volume path is missing")
	}
	device, err := waitDevice(ctx, r.GetVolumeId(), r.GetCapacityRange().GetRequiredBytes())
	if err != nil {
		return nil, err
	}
	if r.GetVolumeCapability().GetBlock() == nil {
		if _, err := mount.NewResizeFs(n.mounter.Exec).Resize(device, r.GetVolumePath()); err != nil {
			return nil, err
		}
	}
	return &csi.NodeExpandVolumeResponse{}, nil
}

// waitDevice waits for the disk's device (there is no udev that would name it by
// its serial number) and for it to be that large.
func waitDevice(ctx context.Context, id string, size int64) (string, error) {
	if err := clouddisk.CheckID(id); err != nil {
		return "", coded(err)
	}
	for {
		name, err := deviceOf(id)
		if err != nil {
			return "", err
		}
		if name != "" {
			now, err := sizeOf(name)
			if err != nil {
				return "", err
			}
			if now >= size {
				return "/dev/" + name, nil
			}
		}
		select {
		case <-ctx.Done():
			return "", dot.Errorf(dot.CodeDeadline, "disk %s is not on this node, or has fewer than %d bytes there: %w", id, size, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// deviceOf is the kernel's name of the disk, as "vdb", or "".
func deviceOf(id string) (string, error) {
	serials, err := filepath.Glob("/sys/block/*/serial")
	if err != nil {
		return "", err
	}
	for _, path := range serials {
		b, err := os.ReadFile(path)
		if err == nil && strings.TrimSpace(string(b)) == id {
			return filepath.Base(filepath.Dir(path)), nil
		}
	}
	return "", nil
}

func sizeOf(name string) (int64, error) {
	b, err := os.ReadFile(filepath.Join("/sys/block", name, "size"))
	if err != nil {
		return 0, err
	}
	sectors, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", name, err)
	}
	return sectors * 512, nil
}
