package controller

import (
	"context"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/kubernetes-csi/csi-lib-utils/metrics"
	"golang.org/x/sync/errgroup"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// Config is what a controller needs.
type Config struct {
	// Socket is where the sidecars call: an absolute path.
	Socket string
	// HealthAddress is host:port of /healthz, /readyz and /metrics; "": none.
	HealthAddress string
	// Version is the driver's build.
	Version string
	// ClusterName is the segment of the topology that every node of this
	// dotmesh cluster reports.
	ClusterName string
	// Timeout bounds a call whose caller set no deadline; 0:
	// driver.DefaultTimeout.
	Timeout time.Duration
	// Volumes and Server are calls of a dotmesh server.
	Volumes dotmeshv1connect.VolumeServiceClient
	Server  dotmeshv1connect.ServerServiceClient
	// Kubernetes may be nil where no PVC is behind the calls; one that tells of a
	// PVC is then refused.
	Kubernetes Kubernetes
}

// Validate tells what is missing.
func (c Config) Validate() error {
	switch {
	case !strings.HasPrefix(c.Socket, "/"):
		return dot.Invalid("the path of the CSI socket %q is not absolute", c.Socket)
	case c.Volumes == nil, c.Server == nil:
		return dot.Invalid("the controller has no dotmesh server to call")
	}
	return driver.CheckClusterName(c.ClusterName)
}

// Controller is the controller role of the dotmesh binary.
type Controller struct {
	cfg     Config
	service *service
}

// New checks cfg; it starts nothing.
func New(cfg Config) (*Controller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Controller{cfg: cfg, service: &service{volumes: cfg.Volumes, kube: cfg.Kubernetes, cluster: cfg.ClusterName}}, nil
}

// Run serves until ctx ends, then lets calls under way finish.
func (c *Controller) Run(ctx context.Context) error {
	m := metrics.NewCSIMetricsManagerForPlugin(driver.DriverName)
	server := driver.NewServer(m, c.cfg.Timeout)
	csi.RegisterIdentityServer(server, &driver.Identity{Version: c.cfg.Version, Ready: c.ready})
	csi.RegisterControllerServer(server, c.service)
	l, err := driver.Listen(ctx, c.cfg.Socket)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return driver.Serve(ctx, server, l) })
	if c.cfg.HealthAddress != "" {
		group.Go(func() error {
			return driver.ServeHealth(ctx, c.cfg.HealthAddress, driver.HealthHandler(m, c.ready))
		})
	}
	return group.Wait()
}

// ready asks the server.
func (c *Controller) ready(ctx context.Context) error {
	res, err := c.cfg.Server.GetStatus(ctx, connect.NewRequest(&dotmeshv1.GetStatusRequest{}))
	if err != nil {
		return err
	}
	if !res.Msg.GetReady() {
		return dot.Unavailable("the dotmesh server on node %s is not ready", res.Msg.GetNode())
	}
	return nil
}

// service is the CSI Controller service; its methods stand by concern in
// volumes.go, publish.go and snapshots.go.
type service struct {
	csi.UnimplementedControllerServer
	volumes dotmeshv1connect.VolumeServiceClient
	kube    Kubernetes // may be nil
	cluster string
}
