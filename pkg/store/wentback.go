package store

import (
	"context"
	"errors"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// ErrWentBack is in the chain of every error after etcd was put back to an earlier
// state, from a backup, until a lease is acquired anew: what was decided since is
// forgotten there, so that nothing may be decided on what it says.
var ErrWentBack = errors.New("the registry went back to an earlier revision: was etcd restored from a backup?")

// forward notices that etcd went back: its reads and writes are linearizable, so
// that no answer tells of an earlier revision than one that was known when it was
// asked for (https://etcd.io/docs/v3.5/learning/api_guarantees/).
type forward struct{ revision atomic.Int64 }

// intercept looks at the revision in an answer's header.
func (f *forward) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	known := f.revision.Load()
	if err := invoke(ctx, method, req, reply, cc, opts...); err != nil {
		return err
	}
	answer, ok := reply.(interface {
		GetHeader() *etcdserverpb.ResponseHeader
	})
	if !ok {
		return nil
	}
	now := answer.GetHeader().GetRevision()
	if now == 0 { // an answer that tells of none
		return nil
	}
	if now < known {
		return ErrWentBack
	}
	for old := known; now > old && !f.revision.CompareAndSwap(old, now); {
		old = f.revision.Load()
	}
	return nil
}

// TakeAsItIs forgets what revision the registry was at: what is decided from now on
// is decided on what it says now. A new lease does it too.
func (s *Store) TakeAsItIs() { s.forward.revision.Store(0) }
