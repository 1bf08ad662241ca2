package store

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
)

// What etcd takes in one transaction (its --max-txn-ops and, with room to
// spare, --max-request-bytes).
const (
	maxTxnOps   = 128
	MaxTxnBytes = 1 << 20 // of keys and values
)

// Points that every transaction passes.
const (
	PointTxnBefore crash.Point = "store.txn.before"
	PointTxnAfter  crash.Point = "store.txn.after"
)

// Txn gathers conditions and changes; Commit makes all changes at once if all
// conditions hold, and none otherwise. It takes at most 128 conditions and 128
// keys (a branch is three keys). Of several changes of one key the last counts.
// A Txn is used once, by one goroutine.
type Txn struct {
	s          *Store
	conditions []condition
	changes    []change
	index      map[Key]int
	revision   int64
	err        error
}

type condition struct {
	key   Key
	cmp   clientv3.Cmp
	holds func(*mvccpb.KeyValue) bool // kv is nil for a key that is absent
}

// change puts a value, or deletes the key when there is none.
type change struct {
	key   Key
	value *string
}

// Txn starts a transaction.
func (s *Store) Txn() *Txn { return &Txn{s: s, index: map[Key]int{}} }

// Absent requires that the key is not there: create-only.
func (t *Txn) Absent(k Key) *Txn { return t.Unchanged(k, 0) }

// Unchanged requires that the key was last written at a Record's revision.
func (t *Txn) Unchanged(k Key, revision int64) *Txn {
	t.conditions = append(t.conditions, condition{
		key:   k,
		cmp:   clientv3.Compare(clientv3.ModRevision(t.s.full(k)), "=", revision),
		holds: func(kv *mvccpb.KeyValue) bool { return modRevision(kv) == revision },
	})
	return t
}

// Present requires that the key is there, whatever it holds.
func (t *Txn) Present(k Key) *Txn {
	t.conditions = append(t.conditions, condition{
		key:   k,
		cmp:   clientv3.Compare(clientv3.ModRevision(t.s.full(k)), ">", 0),
		holds: func(kv *mvccpb.KeyValue) bool { return kv != nil },
	})
	return t
}

// Epoch requires that the branch exists and is of an epoch, whatever else of it
// changed. The key that a Conflict names is EpochKey.
func (t *Txn) Epoch(id dot.BranchID, epoch dot.Epoch) *Txn {
	k := EpochKey(id)
	want, err := epochCodec.encode(k, epoch)
	t.fail(err)
	t.conditions = append(t.conditions, condition{
		key:   k,
		cmp:   clientv3.Compare(clientv3.Value(t.s.full(k)), "=", want),
		holds: func(kv *mvccpb.KeyValue) bool { return kv != nil && string(kv.Value) == want },
	})
	return t
}

// Held requires that a lease is still ours. The key that a Conflict names is
// AliveKey.
func (t *Txn) Held(l *Lease) *Txn {
	t.conditions = append(t.conditions, condition{
		key:   l.key,
		cmp:   clientv3.Compare(clientv3.LeaseValue(t.s.full(l.key)), "=", int64(l.id)),
		holds: func(kv *mvccpb.KeyValue) bool { return kv != nil && kv.Lease == int64(l.id) },
	})
	return t
}

func modRevision(kv *mvccpb.KeyValue) int64 {
	if kv == nil {
		return 0
	}
	return kv.ModRevision
}

// Commit does it. ErrConflict: a condition failed, and nothing was changed.
// CodeUnavailable: etcd did not answer, and it may have been changed or not.
func (t *Txn) Commit(ctx context.Context) error {
	if err := t.sizes(); err != nil {
		return err
	}
	cmps := make([]clientv3.Cmp, len(t.conditions))
	reads := make([]clientv3.Op, len(t.conditions))
	for i, c := range t.conditions {
		cmps[i], reads[i] = c.cmp, clientv3.OpGet(t.s.full(c.key))
	}
	ops := make([]clientv3.Op, len(t.changes))
	for i, c := range t.changes {
		if c.value == nil {
			ops[i] = clientv3.OpDelete(t.s.full(c.key))
		} else {
			ops[i] = clientv3.OpPut(t.s.full(c.key), *c.value)
		}
	}
	var resp *clientv3.TxnResponse
	t.s.hook.Pass(ctx, PointTxnBefore)
	err := t.s.call(ctx, "change the registry", func(ctx context.Context) (err error) {
		resp, err = t.s.client.Txn(ctx).If(cmps...).Then(ops...).Else(reads...).Commit()
		return err
	})
	t.s.hook.Pass(ctx, PointTxnAfter)
	if err != nil {
		return err
	}
	t.revision = resp.Header.Revision
	if resp.Succeeded {
		return nil
	}
	return t.conflict(resp)
}

// Revision is the one at which Commit changed the keys; the Revision of each
// Record that it put.
func (t *Txn) Revision() int64 { return t.revision }

// Bytes is how much its changes have, of the [MaxTxnBytes] that etcd takes.
func (t *Txn) Bytes() int {
	bytes := 0
	for _, c := range t.changes {
		bytes += len(t.s.full(c.key))
		if c.value != nil {
			bytes += len(*c.value)
		}
	}
	return bytes
}

func (t *Txn) sizes() error {
	bytes := t.Bytes()
	if len(t.changes) > maxTxnOps || len(t.conditions) > maxTxnOps || bytes > MaxTxnBytes {
		t.fail(dot.Errorf(dot.CodeInternal, "a transaction of %d changes and %d conditions with %d bytes is more than etcd takes at once", len(t.changes), len(t.conditions), bytes))
	}
	return t.err
}

func (t *Txn) conflict(resp *clientv3.TxnResponse) error {
	conflict := &Conflict{}
	for i, c := range t.conditions {
		var kv *mvccpb.KeyValue
		if got := resp.Responses[i].GetResponseRange(); got != nil && len(got.Kvs) > 0 {
			kv = got.Kvs[0]
		}
		if !c.holds(kv) {
			conflict.Keys = append(conflict.Keys, c.key)
		}
	}
	return dot.Errorf(dot.CodeAborted, "%w; try again", conflict)
}

func (t *Txn) fail(err error) { t.err = errors.Join(t.err, err) }

// set records a change, in place of an earlier one of the same key.
func (t *Txn) set(k Key, value *string) *Txn {
	if i, ok := t.index[k]; ok {
		t.changes[i].value = value
		return t
	}
	t.index[k] = len(t.changes)
	t.changes = append(t.changes, change{k, value})
	return t
}

func put[T any](t *Txn, c codec[T], k Key, v T) *Txn {
	value, err := c.encode(k, v)
	t.fail(err)
	return t.set(k, &value)
}
