package server

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// mostUsers is how many of who uses the pool are named.
const mostUsers = 5

// published remembers which of the pool's volumes this node may mount, for as long as
// nothing of the registry changes: the operator asks every few seconds.
type published struct {
	mu       sync.Mutex
	revision int64
	volumes  []string
}

// publishedHere names the volumes of this pool that this node may mount, by their
// claims.
func (p *plane) publishedHere(ctx context.Context) ([]string, error) {
	revision, err := p.store.Revision(ctx)
	if err != nil {
		return nil, err
	}
	p.published.mu.Lock()
	defer p.published.mu.Unlock()
	if p.published.revision == revision {
		return p.published.volumes, nil
	}
	all, err := p.store.ListPublishedTo(ctx, p.node)
	if err != nil {
		return nil, err
	}
	p.published.revision, p.published.volumes = revision, nil
	for _, rec := range all {
		// Another pool of this node may be the volume's.
		if v := rec.Value; p.engine.HasBranch(v.Branch) {
			p.published.volumes = append(p.published.volumes, describe(v))
		}
	}
	return p.published.volumes, nil
}

// describe names a volume for who looks for the pod that uses it.
func describe(v dot.Volume) string {
	if v.PVCName == "" {
		return "volume " + v.ID.String()
	}
	return "claim " + v.KubernetesNamespace + "/" + v.PVCName
}

// users names who uses the pool on this machine: processes that mount something of it,
// and claims that pods may mount. They may not be all when the registry is away. Whatever
// else must keep a pool from being released, as a stream from or to it, belongs here.
func (p *plane) users(ctx context.Context) ([]string, error) {
	var names []string
	for _, h := range p.engine.Holders() {
		names = append(names, h.String())
	}
	claims, err := p.publishedHere(ctx)
	return append(names, claims...), err
}

// usersWithin is less than who asks for the status waits: that the registry is away is then
// an answer.
const usersWithin = 2 * time.Second

// usersSoon is users for who would rather not know than wait.
func (p *plane) usersSoon(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, usersWithin)
	defer cancel()
	return p.users(ctx)
}

// few keeps a list of names short.
func few(names []string) []string { return names[:min(len(names), mostUsers)] }

// wantedFor is how long after the last attempt a pool counts as waited for: the
// attacher repeats one within a minute.
const wantedFor = 2 * time.Minute

// wanted remembers the pools that pods wait for and that no server serves.
type wanted struct {
	mu    sync.Mutex
	pools map[dot.PoolID]time.Time // when it was last asked for
}

func (w *wanted) note(pool dot.PoolID, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pools == nil {
		w.pools = map[dot.PoolID]time.Time{}
	}
	w.pools[pool] = now
}

func (w *wanted) list(now time.Time) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.pools, func(_ dot.PoolID, at time.Time) bool { return now.Sub(at) > wantedFor })
	var ids []string
	for pool := range w.pools {
		ids = append(ids, pool.String())
	}
	slices.Sort(ids)
	return ids
}

// noteWanted notes that a pod waits for a pool, if nobody serves it. For one that is served
// an attach waits for nobody: it is recorded as a publication, which is a use.
func (p *plane) noteWanted(ctx context.Context, pool dot.PoolID) {
	if pool == p.pool {
		return
	}
	if _, served, err := found(p.store.GetAlive(ctx, pool)); err == nil && !served {
		p.wanted.note(pool, p.now())
	}
}
