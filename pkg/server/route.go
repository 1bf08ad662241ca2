package server

import (
	"context"
	"errors"

	"connectrpc.com/connect"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// elsewhere tells that another pool's server has to do what was asked for. A flow
// gives it before it has changed anything; route then asks that server.
type elsewhere struct {
	pool dot.Pool
	// refusal is the answer to callers that are not routed.
	refusal *dot.Error
}

func (e *elsewhere) Error() string { return e.refusal.Message }

func (e *elsewhere) Unwrap() error { return e.refusal }

// elsewhere names the server that what is written on a pool has to be asked of.
func (p *plane) elsewhere(ctx context.Context, what string, pool dot.PoolID) error {
	rec, there, err := found(p.store.GetPool(ctx, pool))
	if err != nil {
		return err
	}
	if !there {
		rec.Value.ID = pool
	}
	return &elsewhere{rec.Value, dot.Precondition("%s is on node %q and this server is on %q: ask that node's server", what, nodeName(rec.Value), p.node)}
}

// remote is a method of another server's.
type remote[Q, R any] func(*client.Client, context.Context, *connect.Request[Q]) (*connect.Response[R], error)

func onDots[Q, R any](method func(dotmeshv1connect.DotServiceClient, context.Context, *connect.Request[Q]) (*connect.Response[R], error)) remote[Q, R] {
	return func(c *client.Client, ctx context.Context, req *connect.Request[Q]) (*connect.Response[R], error) {
		return method(c.Dots, ctx, req)
	}
}

func onVolumes[Q, R any](method func(dotmeshv1connect.VolumeServiceClient, context.Context, *connect.Request[Q]) (*connect.Response[R], error)) remote[Q, R] {
	return func(c *client.Client, ctx context.Context, req *connect.Request[Q]) (*connect.Response[R], error) {
		return method(c.Volumes, ctx, req)
	}
}

// route is call for what one pool's server alone can do: where that is another's,
// the same request goes there. A call that came that way goes no further.
func route[Q, R any](ctx context.Context, get planeSource, req *connect.Request[Q], flow func(*plane, context.Context, *Q) (*R, error), there remote[Q, R]) (*connect.Response[R], error) {
	res, err := call(ctx, get, req, flow)
	var other *elsewhere
	if !errors.As(err, &other) {
		return res, err
	}
	if isForwarded(ctx) {
		return nil, dot.Errorf(dot.CodeAborted, "what was asked for has changed its place meanwhile, to node %s; try again", nodeName(other.pool))
	}
	p, err := get()
	if err != nil {
		return nil, err
	}
	klog.FromContext(ctx).V(2).Info("forwarding", "pool", other.pool.ID, "node", other.pool.Node)
	answer, err := ask(ctx, p, other.pool, func(ctx context.Context, c *client.Client) (*connect.Response[R], error) {
		return there(c, ctx, connect.NewRequest(req.Msg))
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(answer.Msg), nil
}
