package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/kubernetes-csi/csi-lib-utils/metrics"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"
	mount "k8s.io/mount-utils"

	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// Config is what a node service needs.
type Config struct {
	// Socket is where kubelet calls: an absolute path.
	Socket string
	// RegistrationSocket is in kubelet's directory plugins_registry; "": kubelet
	// is not told.
	RegistrationSocket string
	// KubeletSocket is Socket as kubelet sees it; "": the same path.
	KubeletSocket string
	// HealthAddress is host:port of /healthz, /readyz and /metrics; "": none.
	HealthAddress string
	// NodeName is the Kubernetes name of this node, ClusterName that of the
	// dotmesh cluster.
	NodeName, ClusterName string
	// RunDir holds a directory for every pool of this machine, with its server's
	// socket and the deadline of its fence.
	RunDir string
	// Version is the driver's build.
	Version string
	// Timeout bounds a call whose caller set no deadline; 0:
	// driver.DefaultTimeout.
	Timeout time.Duration
	// Fence makes a pool's heads read-only; nil: nobody watches the deadlines.
	Fence zfs.Fence
	// Crash is called at the points that Points lists; for tests.
	Crash crash.Hook
}

// maxNodeName is what a topology segment, which becomes a label, can hold.
const maxNodeName = 63

// Validate tells what is missing.
func (c Config) Validate() error {
	for _, path := range []string{c.Socket, c.RunDir} {
		if !strings.HasPrefix(path, "/") {
			return dot.Invalid("the path %q is not absolute", path)
		}
	}
	if c.RegistrationSocket != "" && !strings.HasPrefix(c.RegistrationSocket, "/") {
		return dot.Invalid("the path of the registration socket %q is not absolute", c.RegistrationSocket)
	}
	if c.NodeName == "" || len(c.NodeName) > maxNodeName {
		return dot.Invalid("node name %q is not valid: 1 to %d characters", c.NodeName, maxNodeName)
	}
	return driver.CheckClusterName(c.ClusterName)
}

// Node is the node role of the dotmesh binary.
type Node struct {
	cfg     Config
	service *service
}

// New checks cfg; it starts nothing.
func New(cfg Config) (*Node, error) {
	if cfg.KubeletSocket == "" {
		cfg.KubeletSocket = cfg.Socket
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Node{cfg: cfg, service: &service{
		node:    cfg.NodeName,
		cluster: cfg.ClusterName,
		mounter: mount.NewWithoutSystemd(""),
		servers: &servers{runDir: cfg.RunDir},
		writers: writers{dir: cfg.RunDir + "/csi"},
		crash:   cfg.Crash,
	}}, nil
}

// Run serves until ctx ends, then lets calls under way finish. Kubelet is told
// only once the service answers.
func (n *Node) Run(ctx context.Context) error {
	m := metrics.NewCSIMetricsManagerForPlugin(driver.DriverName)
	server := driver.NewServer(m, n.cfg.Timeout)
	csi.RegisterIdentityServer(server, &driver.Identity{Version: n.cfg.Version, Ready: n.service.servers.ready})
	csi.RegisterNodeServer(server, n.service)
	l, err := driver.Listen(ctx, n.cfg.Socket)
	if err != nil {
		return err
	}
	ready := func(context.Context) error { return nil }
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return driver.Serve(ctx, server, l) })
	if n.cfg.RegistrationSocket != "" {
		r := driver.NewRegistration(n.cfg.KubeletSocket)
		ready = r.Ready
		group.Go(func() error { return n.register(ctx, r) })
	}
	if n.cfg.HealthAddress != "" {
		group.Go(func() error {
			return driver.ServeHealth(ctx, n.cfg.HealthAddress, driver.HealthHandler(m, ready))
		})
	}
	if n.cfg.Fence != nil {
		w, err := newWatcher(n.cfg.RunDir, n.cfg.Fence)
		if err != nil {
			return err
		}
		group.Go(func() error { return w.run(ctx) })
	}
	return group.Wait()
}

// register serves kubelet's question. The socket goes with us, so that kubelet
// knows when the driver was removed.
func (n *Node) register(ctx context.Context, r *driver.Registration) error {
	l, err := driver.Listen(ctx, n.cfg.RegistrationSocket)
	if err != nil {
		return err
	}
	err = driver.Serve(ctx, r.Server(), l)
	if gone := os.Remove(n.cfg.RegistrationSocket); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		klog.FromContext(ctx).Error(gone, "the registration socket was left")
	}
	return err
}

// service is the CSI Node service; its methods stand by concern in stage.go,
// publish.go, unmount.go and volume.go.
type service struct {
	csi.UnimplementedNodeServer
	node, cluster string
	mounter       mount.Interface
	servers       *servers
	writers       writers
	crash         crash.Hook
}

// NodeGetCapabilities lists what the node service can do.
func (s *service) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	res := &csi.NodeGetCapabilitiesResponse{}
	for _, t := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		res.Capabilities = append(res.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: t}},
		})
	}
	return res, nil
}

// NodeGetInfo says who the node is. The number of volumes has no bound.
func (s *service) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{
		NodeId: s.node,
		AccessibleTopology: &csi.Topology{Segments: map[string]string{
			driver.TopologyNode:    s.node,
			driver.TopologyCluster: s.cluster,
		}},
	}, nil
}
