package server

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// What a server says of a call that it forwards: to which pool's server, and who
// made it.
const (
	headerPool   = "Dotmesh-Forwarded-To"
	headerCaller = "Dotmesh-Forwarded-For"
	headerRole   = "Dotmesh-Forwarded-Role"
)

// forwarded is a call that another server has sent on.
type forwarded struct {
	to  dot.PoolID
	who principal
}

type forwardedKey struct{}

func withForwarded(ctx context.Context, f forwarded) context.Context {
	return context.WithValue(ctx, forwardedKey{}, f)
}

// isForwarded tells whether another server has sent the call on.
func isForwarded(ctx context.Context) bool {
	_, ok := ctx.Value(forwardedKey{}).(forwarded)
	return ok
}

// forMe refuses a call that was forwarded to another pool's server: its record told
// an address that is ours now.
func forMe(ctx context.Context, pool dot.PoolID) error {
	if f, ok := ctx.Value(forwardedKey{}).(forwarded); ok && f.to != pool {
		return dot.Unavailable("this is the server of pool %s and not of %s; try again", pool, f.to)
	}
	return nil
}

// readForwarded reads what is said of a forwarded call. It is believed of nobody
// but a server, and refused of others, who would be somebody else by it.
func readForwarded(r *http.Request) (f forwarded, ok bool, err error) {
	to, name, role := r.Header.Get(headerPool), r.Header.Get(headerCaller), r.Header.Get(headerRole)
	if to == "" && name == "" && role == "" {
		return f, false, nil
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || pki.RequireRole(r.TLS.PeerCertificates[0], pki.RoleServer) != nil {
		return f, false, dot.Errorf(dot.CodeUnauthenticated, "only a server with a client certificate of role %s may say for whom it calls", pki.RoleServer)
	}
	if f.to, err = dot.ParsePoolID(to); err != nil {
		return f, false, err
	}
	caller, err := dot.ParseNamespace(name) // users are named like namespaces
	f.who = principal{caller.String(), role}
	return f, err == nil, err
}

// announce says it of every call to a pool's server.
func announce(pool dot.PoolID) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			who, _ := ctx.Value(principalKey{}).(principal)
			req.Header().Set(headerPool, pool.String())
			req.Header().Set(headerCaller, who.name)
			req.Header().Set(headerRole, who.role)
			return next(ctx, req)
		}
	}
}
