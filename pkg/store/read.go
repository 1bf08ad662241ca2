package store

import (
	"context"
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// pageSize is how many values one request reads.
const pageSize = 500

// get reads one value. what names it for the user who asked for it.
func get[T any](ctx context.Context, s *Store, c codec[T], k Key, what string) (Record[T], error) {
	var resp *clientv3.GetResponse
	err := s.call(ctx, "read "+what, func(ctx context.Context) (err error) {
		resp, err = s.client.Get(ctx, s.full(k))
		return err
	})
	if err != nil {
		return Record[T]{}, err
	}
	if len(resp.Kvs) == 0 {
		return Record[T]{}, dot.NotFound("%s does not exist", what)
	}
	v, err := c.decode(k, resp.Kvs[0].Value)
	return Record[T]{v, resp.Kvs[0].ModRevision}, err
}

// list reads every value below a prefix, as they were at one revision, in the
// order of their keys.
func list[T any](ctx context.Context, s *Store, c codec[T], p Prefix) ([]Record[T], error) {
	items, _, err := s.scan(ctx, p)
	if err != nil {
		return nil, err
	}
	return decodeAll(c, items)
}

// page reads up to limit values of a kind whose keys come after the last one of
// the page before (the zero Key: from the start); more tells whether there are
// others behind them.
func page[T any](ctx context.Context, s *Store, c codec[T], p Prefix, after Key, limit int) (records []Record[T], more bool, err error) {
	if limit <= 0 || limit > pageSize {
		limit = pageSize
	}
	start := s.prefix + p.path
	if after != (Key{}) {
		start = s.full(after) + "\x00"
	}
	items, more, _, err := s.pageOf(ctx, p, start, limit, 0)
	if err != nil {
		return nil, false, err
	}
	records, err = decodeAll(c, items)
	return records, more, err
}

// item is a key with its value, not decoded yet.
type item struct {
	key      Key
	value    []byte
	revision int64
}

func decodeAll[T any](c codec[T], items []item) ([]Record[T], error) {
	records := make([]Record[T], len(items))
	for i, it := range items {
		v, err := c.decode(it.key, it.value)
		if err != nil {
			return nil, err
		}
		records[i] = Record[T]{v, it.revision}
	}
	return records, nil
}

// scan reads everything below a prefix at one revision, which it gives, page by
// page. When that revision is compacted away meanwhile it starts again.
func (s *Store) scan(ctx context.Context, p Prefix) ([]item, int64, error) {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		items, revision, err := s.scanOnce(ctx, p)
		if err == nil || attempt == attempts || !isCompacted(err) {
			return items, revision, err
		}
	}
}

func isCompacted(err error) bool { return errors.Is(err, rpctypes.ErrCompacted) }

func (s *Store) scanOnce(ctx context.Context, p Prefix) ([]item, int64, error) {
	var all []item
	revision := int64(0)
	for start := s.prefix + p.path; ; {
		items, more, at, err := s.pageOf(ctx, p, start, pageSize, revision)
		if err != nil {
			return nil, 0, err
		}
		all, revision = append(all, items...), at
		if !more {
			return all, revision, nil
		}
		start = s.full(items[len(items)-1].key) + "\x00"
	}
}

// pageOf reads up to limit values from a start key on, as of a revision or, with
// 0, of the present one, which it gives.
func (s *Store) pageOf(ctx context.Context, p Prefix, start string, limit int, revision int64) (items []item, more bool, at int64, err error) {
	var resp *clientv3.GetResponse
	err = s.call(ctx, "list "+orElse(strings.TrimSuffix(p.path, "/"), "the registry"), func(ctx context.Context) (err error) {
		resp, err = s.client.Get(ctx, start,
			clientv3.WithRange(clientv3.GetPrefixRangeEnd(s.prefix+p.path)),
			clientv3.WithLimit(int64(limit)),
			clientv3.WithRev(revision),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
		return err
	})
	if err != nil {
		return nil, false, 0, err
	}
	for _, kv := range resp.Kvs {
		k, err := ParseKey(strings.TrimPrefix(string(kv.Key), s.prefix))
		if err != nil {
			return nil, false, 0, err
		}
		items = append(items, item{k, kv.Value, kv.ModRevision})
	}
	if revision == 0 {
		revision = resp.Header.Revision
	}
	return items, resp.More, revision, nil
}

// Empty tells whether the registry holds no dot, name, branch, commit or volume:
// what --recover asks before it fills one from a pool.
func (s *Store) Empty(ctx context.Context) (bool, error) {
	for _, kind := range []Kind{KindDots, KindNames, KindBranches, KindBranchIDs, KindCommits, KindVolumes, KindSnapshots, KindDeleted} {
		items, _, _, err := s.pageOf(ctx, Of(kind), s.prefix+Of(kind).path, 1, 0)
		if err != nil {
			return false, err
		}
		if len(items) > 0 {
			return false, nil
		}
	}
	return true, nil
}
