package client

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// bound gives every call a deadline and turns its error into a *dot.Error.
func bound(timeout time.Duration) connect.UnaryInterceptorFunc {
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			res, err := next(ctx, req)
			if err != nil {
				return nil, api.FromConnect(err)
			}
			return res, nil
		}
	}
}

// leaveUnavailable has the next call connect anew after a server could not serve one:
// behind a Service that leads to another server, while the connection stays with one
// that is up and has lost its pool.
func leaveUnavailable(transport *http.Transport) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			res, err := next(ctx, req)
			if connect.CodeOf(err) == connect.CodeUnavailable {
				transport.CloseIdleConnections()
			}
			return res, err
		}
	}
}

// authenticate says who is calling, by HTTP Basic authentication (RFC 7617).
func authenticate(user string, key func() (string, error)) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			if key != nil {
				k, err := key()
				if err != nil {
					return nil, dot.Errorf(dot.CodeUnauthenticated, "read the API key: %w", err)
				}
				basic := base64.StdEncoding.EncodeToString([]byte(user + ":" + k))
				req.Header().Set("Authorization", "Basic "+basic)
			}
			return next(ctx, req)
		}
	}
}
