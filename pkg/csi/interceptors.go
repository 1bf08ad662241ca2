package csi

import (
	"context"
	"path"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/kubernetes-csi/csi-lib-utils/protosanitizer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/keylock"
)

// DefaultTimeout bounds a call whose caller set no deadline.
const DefaultTimeout = 60 * time.Second

// lateAnswer is how long a call whose deadline has passed may still take to say
// in its own words what it was waiting for.
const lateAnswer = 200 * time.Millisecond

// Recorder hears how each call went; csi-lib-utils' CSIMetricsManager is one.
type Recorder interface {
	RecordMetrics(operation string, err error, d time.Duration)
}

// NewServer makes a gRPC server whose calls, from the outside in, get an id and
// are logged without secrets, measured, given a gRPC code and a deadline, kept
// from working on one volume at once, and kept from taking the process down.
func NewServer(metrics Recorder, timeout time.Duration) *grpc.Server {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return grpc.NewServer(grpc.ChainUnaryInterceptor(
		logged(),
		measured(metrics),
		coded,
		bounded(timeout),
		exclusive(&keylock.Set[string]{}),
		recovered,
	))
}

func logged() grpc.UnaryServerInterceptor {
	var calls atomic.Uint64
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		logger := klog.FromContext(ctx).WithValues("call", path.Base(info.FullMethod), "request", calls.Add(1))
		ctx = klog.NewContext(ctx, logger)
		logger.V(5).Info("called", "with", protosanitizer.StripSecrets(req))
		start := time.Now()
		res, err := handler(ctx, req)
		took := time.Since(start).Round(time.Millisecond)
		switch {
		case err != nil:
			logger.Info("failed", "code", status.Code(err), "reason", status.Convert(err).Message(), "took", took,
				"with", protosanitizer.StripSecrets(req))
		case changes(req):
			logger.V(2).Info("done", "took", took, "answer", protosanitizer.StripSecrets(res))
		default:
			logger.V(5).Info("done", "took", took, "answer", protosanitizer.StripSecrets(res))
		}
		return res, err
	}
}

func measured(metrics Recorder) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		start := time.Now()
		res, err := handler(ctx, req)
		if metrics != nil {
			metrics.RecordMetrics(info.FullMethod, err, time.Since(start))
		}
		return res, err
	}
}

func coded(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	res, err := handler(ctx, req)
	return res, ToStatus(err)
}

func bounded(timeout time.Duration) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if _, has := ctx.Deadline(); !has {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		return handler(ctx, req)
	}
}

// exclusive answers ABORTED while another call is at work on the same volume or
// snapshot. A call whose deadline passes is answered although it hangs in the
// kernel (a mount on a suspended pool does); its lock is kept until it is over.
func exclusive(l *keylock.Set[string]) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		key, unlock := lockKey(req), func() {}
		if key != "" {
			var free bool
			if unlock, free = l.TryLock(key); !free {
				return nil, dot.Errorf(dot.CodeAborted, "another call is at work on %s: try again", key)
			}
		}
		type answer struct {
			res any
			err error
		}
		done := make(chan answer, 1)
		go func() {
			res, err := handler(ctx, req)
			unlock() // first: the caller's next call may follow its answer at once
			done <- answer{res, err}
		}()
		select {
		case a := <-done:
			return a.res, a.err
		case <-ctx.Done():
		}
		select {
		case a := <-done:
			return a.res, a.err
		case <-time.After(lateAnswer):
			klog.FromContext(ctx).Info("the call goes on after its deadline")
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
}

func recovered(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (res any, err error) {
	defer func() {
		if p := recover(); p != nil {
			klog.FromContext(ctx).Error(nil, "panicked", "panic", p, "stack", string(debug.Stack()))
			res, err = nil, status.Errorf(codes.Internal, "a fault in the driver: %v", p)
		}
	}()
	return handler(ctx, req)
}
