package driver

import (
	"context"
	"errors"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	dotmesh "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/test/lab/clouddisk"
)

// callTimeout bounds a call whose caller set no deadline.
const callTimeout = time.Minute

// Serve answers CSI calls on a unix socket until ctx ends; services registers
// what there is beside Identity.
func Serve(ctx context.Context, socket string, services func(*grpc.Server)) error {
	s := dotmesh.NewServer(nil, callTimeout)
	csi.RegisterIdentityServer(s, identity{})
	services(s)
	l, err := dotmesh.Listen(ctx, socket)
	if err != nil {
		return err
	}
	return dotmesh.Serve(ctx, s, l)
}

type identity struct {
	csi.UnimplementedIdentityServer
}

func (identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: clouddisk.DriverName, VendorVersion: "lab"}, nil
}

// GetPluginCapabilities leaves topology out: any node of a cluster reaches any disk.
func (identity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{
		{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}}},
		{Type: &csi.PluginCapability_VolumeExpansion_{VolumeExpansion: &csi.PluginCapability_VolumeExpansion{Type: csi.PluginCapability_VolumeExpansion_ONLINE}}},
	}}, nil
}

func (identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

// plugin tells kubelet of the node service, as dotmesh's does but for the name.
type plugin struct{ *dotmesh.Registration }

func (p plugin) GetInfo(ctx context.Context, r *registration.InfoRequest) (*registration.PluginInfo, error) {
	info, err := p.Registration.GetInfo(ctx, r)
	if err != nil {
		return nil, err
	}
	info.Name = clouddisk.DriverName
	return info, nil
}

// Register serves kubelet's registration on a unix socket until ctx ends.
func Register(ctx context.Context, socket, endpoint string) error {
	s := grpc.NewServer()
	registration.RegisterRegistrationServer(s, plugin{dotmesh.NewRegistration(endpoint)})
	l, err := dotmesh.Listen(ctx, socket)
	if err != nil {
		return err
	}
	return dotmesh.Serve(ctx, s, l)
}

// checkCapability refuses what a disk cannot be used for.
func checkCapability(c *csi.VolumeCapability) error {
	switch {
	case c == nil:
		return dot.Invalid("the volume capability is missing")
	case c.GetBlock() == nil && c.GetMount() == nil:
		return dot.Invalid("the volume capability has no access type")
	}
	if fs := c.GetMount().GetFsType(); fs != "" && fs != fileSystem {
		return dot.Invalid("file system type %q is not supported: use %s", fs, fileSystem)
	}
	switch c.GetAccessMode().GetMode() {
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:
		return nil
	}
	return dot.Invalid("the access mode %s is not supported: a disk is on one node at a time", c.GetAccessMode().GetMode())
}

// coded gives what the disks say CSI's codes.
func coded(err error) error {
	for _, c := range []struct {
		is   error
		code dot.Code
	}{
		{clouddisk.ErrNoDisk, dot.CodeNotFound},
		{clouddisk.ErrNoNode, dot.CodeNotFound},
		{clouddisk.ErrAttached, dot.CodePrecondition},
		{clouddisk.ErrSize, dot.CodeExists},
	} {
		if errors.Is(err, c.is) {
			return dot.Errorf(c.code, "%w", err)
		}
	}
	return err
}
