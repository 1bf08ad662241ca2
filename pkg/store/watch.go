package store

import (
	"context"
	"strings"
	"time"

	"go.etcd.io/etcd/client/v3"
	"k8s.io/klog/v2"
)

// Event tells of a change, or with Resync of everything at once.
type Event struct {
	// Resync: Now holds every key below the prefix as of Revision, in place of
	// whatever was known before; Key and Value mean nothing. It comes first when
	// no revision was asked for, and whenever changes were missed.
	Resync bool
	Now    []Entry
	// Entry is the key that changed; without a Value it was deleted.
	Entry
}

// Entry is a key with its value as it is stored.
type Entry struct {
	Key      Key
	Value    []byte
	Revision int64
}

// Deleted tells whether the entry says that its key is no more.
func (e Entry) Deleted() bool { return e.Value == nil }

// Watch tells of changes below a prefix from a revision on (that one included;
// 0: first a Resync, then what changes after it) until ctx ends, which closes the
// channel. It outlives restarts of etcd, and compaction, after which it gives a
// Resync. The channel is unbuffered: a slow reader delays only itself.
func (s *Store) Watch(ctx context.Context, p Prefix, fromRevision int64) <-chan Event {
	w := &watch{s: s, prefix: p, next: fromRevision, out: make(chan Event)}
	go w.run(ctx)
	return w.out
}

type watch struct {
	s      *Store
	prefix Prefix
	next   int64 // the first revision not told of yet; 0: a resync is due
	out    chan Event
}

func (w *watch) run(ctx context.Context) {
	const pause = time.Second
	defer close(w.out)
	for ctx.Err() == nil && w.s.client.Ctx().Err() == nil {
		err := w.follow(ctx)
		if err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).V(2).Info("watch of the registry broke, trying again", "prefix", w.prefix, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-w.s.client.Ctx().Done():
		case <-time.After(pause):
		}
	}
}

// follow tells of changes until the watch breaks.
func (w *watch) follow(ctx context.Context) error {
	// Ending ctx ends the client's watch, whatever comes first.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	if w.next == 0 {
		if err := w.resync(ctx); err != nil {
			return err
		}
	}
	changes := w.s.client.Watch(ctx, w.s.prefix+w.prefix.path, clientv3.WithPrefix(), clientv3.WithRev(w.next))
	for resp := range changes {
		if resp.CompactRevision > 0 {
			w.next = 0
			return w.resync(ctx)
		}
		if err := resp.Err(); err != nil {
			return err
		}
		for _, change := range resp.Events {
			entry, err := w.s.entry(change)
			if err != nil {
				klog.FromContext(ctx).Error(err, "ignored a change in the registry")
				continue
			}
			if !w.tell(ctx, Event{Entry: entry}) {
				return ctx.Err()
			}
		}
		// The header's revision can be ahead of the changes told so far.
		if n := len(resp.Events); n > 0 {
			w.next = resp.Events[n-1].Kv.ModRevision + 1
		} else if resp.IsProgressNotify() {
			w.next = resp.Header.Revision + 1
		}
	}
	return ctx.Err()
}

func (w *watch) resync(ctx context.Context) error {
	items, revision, err := w.s.scan(ctx, w.prefix)
	if err != nil {
		return err
	}
	now := make([]Entry, len(items))
	for i, it := range items {
		now[i] = Entry{it.key, it.value, it.revision}
	}
	if w.tell(ctx, Event{Resync: true, Now: now, Entry: Entry{Revision: revision}}) {
		w.next = revision + 1
	}
	return nil
}

func (w *watch) tell(ctx context.Context, e Event) bool {
	select {
	case w.out <- e:
		return true
	case <-ctx.Done():
	case <-w.s.client.Ctx().Done():
	}
	return false
}

func (s *Store) entry(change *clientv3.Event) (Entry, error) {
	k, err := ParseKey(strings.TrimPrefix(string(change.Kv.Key), s.prefix))
	if err != nil {
		return Entry{}, err
	}
	entry := Entry{Key: k, Revision: change.Kv.ModRevision}
	if change.Type == clientv3.EventTypePut {
		entry.Value = append([]byte{}, change.Kv.Value...)
	}
	return entry, nil
}
