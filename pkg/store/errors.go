package store

import (
	"context"
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// ErrConflict is in the chain of the error of a transaction of which a condition
// failed; nothing was changed. errors.As with *Conflict tells which.
var ErrConflict = errors.New("the registry changed meanwhile")

// Conflict tells which conditions of a transaction failed.
type Conflict struct{ Keys []Key }

// Error names the keys.
func (c *Conflict) Error() string {
	names := make([]string, len(c.Keys))
	for i, k := range c.Keys {
		names[i] = k.String()
	}
	return ErrConflict.Error() + ": " + strings.Join(names, ", ")
}

// Is makes errors.Is(err, ErrConflict) true.
func (c *Conflict) Is(target error) bool { return target == ErrConflict }

// On tells whether the condition on a key failed.
func (c *Conflict) On(k Key) bool {
	for _, failed := range c.Keys {
		if failed == k {
			return true
		}
	}
	return false
}

// ErrLeaseHeld is in the chain of AcquirePoolLease's error when another instance
// holds the pool's lease.
var ErrLeaseHeld = errors.New("another server holds the pool's lease")

// fault turns an error of the etcd client into one that says what to do. ctx is
// the caller's own, without our deadline.
func (s *Store) fault(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return dot.Errorf(dot.CodeAborted, "%s: cancelled: %w", doing, context.Canceled)
	}
	switch {
	case errors.Is(err, ErrWentBack):
		return dot.Unavailable("%s: %w", doing, err)
	case isCode(err, rpctypes.ErrNoSpace):
		return dot.Errorf(dot.CodeExhausted, "%s: etcd's database is full: compact and defragment it, or raise its quota, then clear the NOSPACE alarm: %w", doing, err)
	case isCode(err, rpctypes.ErrRequestTooLarge), isCode(err, rpctypes.ErrTooManyOps):
		return dot.Errorf(dot.CodeInternal, "%s: more than etcd takes at once: %w", doing, err)
	case isCode(err, rpctypes.ErrPermissionDenied), isCode(err, rpctypes.ErrUserEmpty), isCode(err, rpctypes.ErrInvalidAuthToken):
		return dot.Errorf(dot.CodeInternal, "%s: etcd refuses our user; dotmesh expects an etcd that trusts its client certificate: %w", doing, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), away(err):
		return dot.Unavailable("%s: etcd at %s does not answer; check that it runs%s: %w", doing, s.where, s.hint, err)
	}
	return dot.Errorf(dot.CodeInternal, "%s: etcd: %w", doing, err)
}

// away tells the errors of a connection, a leader or a member that is not there.
func away(err error) bool {
	code := status.Code(err)
	var typed rpctypes.EtcdError
	if errors.As(err, &typed) {
		code = typed.Code()
	} else if _, answered := status.FromError(err); answered && code == codes.Unknown {
		return true // nothing that etcd says: an answer of another kind, or half of one
	}
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.ResourceExhausted, codes.Aborted:
		return true
	}
	return false
}

func isCode(err error, want error) bool {
	return errors.Is(err, want) || errors.Is(rpctypes.Error(err), want)
}

// failure holds why the last attempt of a request failed. At the deadline the
// client tells of nothing but that, while gRPC says what it was waiting for.
type failure struct{ last error }

type failureKey struct{}

func withFailure(ctx context.Context) (context.Context, *failure) {
	f := &failure{}
	return context.WithValue(ctx, failureKey{}, f), f
}

// noteFailure is called for each attempt, one after another.
func noteFailure(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if f, ok := ctx.Value(failureKey{}).(*failure); ok && err != nil {
		f.last = err
	}
	return err
}
