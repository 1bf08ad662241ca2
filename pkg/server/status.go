package server

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"k8s.io/klog/v2"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// statusHandler implements dotmeshv1connect.ServerServiceHandler. It answers also
// while the server is starting.
type statusHandler struct{ s *Server }

func (h statusHandler) GetVersion(context.Context, *connect.Request[v1.GetVersionRequest]) (*connect.Response[v1.GetVersionResponse], error) {
	res := &v1.GetVersionResponse{Version: h.s.cfg.Version, NewerVersion: h.s.cfg.setting(newerVersionSetting)}
	if p, err := h.s.ready(); err == nil {
		res.ZfsModule, res.ZfsUserland = p.about.zfsModule, p.about.zfsUserland
	}
	return connect.NewResponse(res), nil
}

func (h statusHandler) GetStatus(ctx context.Context, _ *connect.Request[v1.GetStatusRequest]) (*connect.Response[v1.GetStatusResponse], error) {
	cfg := h.s.cfg
	res := &v1.GetStatusResponse{
		Node: cfg.NodeName, Zone: cfg.Zone, Version: cfg.Version, Claim: cfg.Pool.Claim, Generation: cfg.Pool.Generation,
		Released: h.s.isReleased(),
	}
	p, starting := h.s.ready()
	if starting != nil {
		var err error
		reason := "Starting"
		if res.Released {
			reason = "Released"
		}
		res.InUse = !res.Released // nobody knows yet
		if res.PoolName, err = h.s.importedBefore(); err != nil {
			klog.FromContext(ctx).Error(err, "whether the pool is imported is not known")
		}
		res.Conditions = []*v1.Condition{{Type: "Ready", Reason: reason, Message: starting.Error()}}
		return connect.NewResponse(res), nil
	}
	p.growth.look(p.work, time.Now())
	users, registryErr := p.usersSoon(ctx)
	res.InUse, res.Users = len(users) > 0 || registryErr != nil, few(users)
	res.WantedPools = p.wanted.list(p.now())
	res.PoolId, res.PoolName = p.pool.String(), p.about.poolName
	_, leaseErr := p.lease.current()
	health, healthErr := p.health.get(ctx)
	res.DiskBytes = p.growth.diskBytes()
	res.Health, res.SizeBytes, res.FreeBytes = health.State, health.SizeBytes, health.FreeBytes
	res.FragmentationPercent = uint32(health.FragmentPercent)
	res.Writes = health.Writes
	res.Conditions = []*v1.Condition{
		condition("Lease", leaseErr, "Held", "NotHeld", ""),
		condition("PoolHealthy", healthErr, health.State, "Unknown", health.Problem),
		condition("Registry", registryErr, "Reachable", "Away", ""),
		condition("PoolSize", p.growth.oversize(), "AsConfigured", "LargerThanConfigured", ""),
	}
	res.Ready = p.ready(ctx) == nil
	return connect.NewResponse(res), nil
}

// importedBefore is the name of the pool that is to be served, if it is imported already, as
// after the process before this one was killed; "" if not, or if it was given by its root.
func (s *Server) importedBefore() (string, error) {
	name, err := zfs.ParsePoolName(s.cfg.Pool.Name)
	if s.cfg.Pool.Root != "" || err != nil {
		return "", nil
	}
	imported, err := pool.IsImported(name)
	if !imported {
		return "", err
	}
	return name.String(), nil
}

func condition(kind string, err error, good, bad, problem string) *v1.Condition {
	if err != nil {
		return &v1.Condition{Type: kind, Reason: bad, Message: err.Error()}
	}
	return &v1.Condition{Type: kind, Ok: problem == "", Reason: good, Message: problem}
}
