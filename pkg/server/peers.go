package server

import (
	"context"
	"crypto/tls"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// peers holds a connection to each other server that was called.
type peers struct {
	tls *tls.Config // nil: this server knows no CA of others

	mu     sync.Mutex
	byPool map[dot.PoolID]peer
}

type peer struct {
	address string
	client  *client.Client
}

// newPeers prepares for servers whose certificates have a name.
func newPeers(files pki.Files, name string) (*peers, error) {
	p := &peers{byPool: map[dot.PoolID]peer{}}
	if files.CA == "" {
		return p, nil
	}
	var err error
	p.tls, err = files.PeerConfig(name)
	return p, err
}

// to gives the client of a pool's server, where its record says that it is now.
func (p *peers) to(pool dot.Pool) (*client.Client, error) {
	switch {
	case p.tls == nil:
		return nil, dot.Unavailable("this server knows no CA of other servers: start it with --client-ca")
	case pool.Address == "":
		return nil, dot.Unavailable("its server has told no address: start it with --advertise")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.byPool[pool.ID]
	if ok && known.address == pool.Address {
		return known.client, nil
	}
	if ok {
		known.client.Close()
	}
	c := client.NewPeer(pool.Address, p.tls, announce(pool.ID))
	p.byPool[pool.ID] = peer{pool.Address, c}
	return c, nil
}

// close lets go of all connections.
func (p *peers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, known := range p.byPool {
		known.client.Close()
	}
	clear(p.byPool)
}

// ask calls a pool's server for whom ctx tells. What fails on the way says which
// server it is.
func ask[R any](ctx context.Context, p *plane, pool dot.Pool, call func(context.Context, *client.Client) (R, error)) (R, error) {
	var none R
	c, err := p.peers.to(pool)
	if err == nil {
		var answer R
		if answer, err = call(ctx, c); err == nil {
			return answer, nil
		}
	}
	switch dot.CodeOf(err) {
	case dot.CodeUnavailable:
		err = dot.Unavailable("the server of pool %s on node %s cannot be asked: %w", pool.ID, nodeName(pool), err)
	case dot.CodeUnauthenticated:
		err = dot.Unavailable("the server of pool %s on node %s does not believe this one; give both a certificate of role %s: %w", pool.ID, nodeName(pool), pki.RoleServer, err)
	}
	return none, err
}

// askTimeout bounds what is asked of several servers at once, where one that does
// not answer is left out.
const askTimeout = 10 * time.Second

// askAll calls the servers of pools at once and gives the answers that there were.
func askAll[R any](ctx context.Context, p *plane, pools []dot.Pool, call func(context.Context, *client.Client) (R, error)) map[dot.PoolID]R {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var (
		asked   sync.WaitGroup
		mu      sync.Mutex
		answers = map[dot.PoolID]R{}
	)
	for _, pool := range pools {
		asked.Go(func() {
			answer, err := ask(ctx, p, pool, call)
			if err != nil {
				klog.FromContext(ctx).Info("a server gave no answer", "pool", pool.ID, "node", pool.Node, "because", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers[pool.ID] = answer
		})
	}
	asked.Wait()
	return answers
}

// nodeName names a pool's node; where the registry does not tell, the pool itself.
func nodeName(pool dot.Pool) string {
	if pool.Node == "" {
		return "of pool " + pool.ID.String()
	}
	return pool.Node
}

// standing is a pool of the cluster and whether a server serves it.
type standing struct {
	dot.Pool
	alive bool
}

// standings reads all pools.
func (p *plane) standings(ctx context.Context) ([]standing, error) {
	pools, err := p.store.ListPools(ctx)
	if err != nil {
		return nil, err
	}
	alive, err := p.store.ListAlive(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]standing, 0, len(pools))
	for _, rec := range pools {
		all = append(all, standing{rec.Value, alive[rec.Value.ID]})
	}
	return all, nil
}
