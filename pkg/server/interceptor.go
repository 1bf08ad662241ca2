package server

import (
	"context"
	"strings"
	"time"

	"connectrpc.com/connect"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
)

const (
	defaultDeadline = time.Minute
	longestDeadline = 2 * time.Minute
)

// around gives every call a deadline, counts and logs it, and turns its error
// into a status.
func (m *metrics) around() connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			limit := defaultDeadline
			if at, ok := ctx.Deadline(); ok {
				limit = min(time.Until(at), longestDeadline)
			}
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			procedure := req.Spec().Procedure
			method := procedure[strings.LastIndex(procedure, "/")+1:]
			logger := klog.FromContext(ctx).WithValues("method", method)
			start := time.Now()
			res, err := next(klog.NewContext(ctx, logger), req)
			err = api.ToConnect(err)
			code := "ok"
			if err != nil {
				code = connect.CodeOf(err).String()
			}
			took := time.Since(start)
			m.requests.WithLabelValues(method, code).Observe(took.Seconds())
			logCall(logger, err, took)
			if err != nil {
				return nil, err
			}
			return res, nil
		}
	}
}

func logCall(logger klog.Logger, err error, took time.Duration) {
	switch {
	case err == nil:
		logger.V(3).Info("answered", "took", took)
	case connect.CodeOf(err) == connect.CodeInternal:
		logger.Error(err, "failed", "took", took)
	default:
		logger.V(1).Info("refused", "because", err, "took", took)
	}
}
