package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
	"github.com/dotmesh-io/dotmesh-csi/pkg/hostclock"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/host"
)

// about is what GetVersion answers.
type about struct {
	version, zfsModule, zfsUserland, poolName string
}

// openStore connects to the registry.
func (s *Server) openStore(ctx context.Context) (*store.Store, error) {
	cfg := store.Config{Endpoints: s.cfg.Etcd.Endpoints, Hook: s.cfg.Crash}
	switch {
	case s.etcd != nil:
		cfg.Endpoints = []string{s.etcd.Endpoint()}
	case s.cfg.Etcd.CA != "":
		cfg.TLS = &store.TLS{CAFile: s.cfg.Etcd.CA, CertFile: s.cfg.Etcd.Cert, KeyFile: s.cfg.Etcd.Key}
	}
	return store.Open(ctx, cfg)
}

// prepareHost gives a client that fits the host's ZFS.
func (s *Server) prepareHost(ctx context.Context) (*zfs.Client, about, error) {
	prepared, err := pool.PrepareHost(ctx, host.Host{Root: s.cfg.HostPrefix}, zfs.Config{Crash: s.cfg.Crash, Observe: s.observe})
	if err != nil {
		return nil, about{}, err
	}
	client, err := zfs.New(prepared.ZFS)
	return client, about{version: s.cfg.Version, zfsModule: prepared.Module.String(), zfsUserland: prepared.Userland.String()}, err
}

// describePool tells of the pool that is this server's own, for which no other server
// of the machine does anything from here on.
func (s *Server) describePool(ctx context.Context, client *zfs.Client, claim store.Claim) (pool.Config, error) {
	name, err := zfs.ParsePoolName(s.cfg.Pool.Name)
	if err != nil {
		return pool.Config{}, dot.Invalid("--pool-name: %w", err)
	}
	// Which pool it is, is known once it is imported; by then it may have grown.
	lock, err := s.keepOthersAway(ctx, filepath.Join(s.cfg.RunDir, "file-"+name.String()))
	if err != nil {
		return pool.Config{}, err
	}
	return pool.Config{
		ZFS: client.Holding(lock), Name: name, Location: s.cfg.Pool.Location, Device: s.cfg.Pool.Device, SizeBytes: s.cfg.poolSize(),
		Sparse: s.cfg.Pool.Sparse, Multihost: s.cfg.Pool.Multihost, Assignment: s.assignment, Expected: !claim.Pool.IsZero(),
		TakeOver: s.cfg.Pool.TakeOver && !claim.Imported, Hook: s.cfg.Crash,
	}, nil
}

// openPool makes the pool imported and gives it with the client that fits it.
func (s *Server) openPool(ctx context.Context, claim store.Claim) (*zfs.Client, pool.Opened, about, error) {
	fail := func(err error) (*zfs.Client, pool.Opened, about, error) { return nil, pool.Opened{}, about{}, err }
	client, info, err := s.prepareHost(ctx)
	if err != nil {
		return fail(err)
	}
	var opened pool.Opened
	if s.cfg.Pool.Root != "" {
		root, err := zfs.ParseDataset(s.cfg.Pool.Root)
		if err != nil {
			return fail(dot.Invalid("--root: %w", err))
		}
		opened, err = pool.Adopt(ctx, client, root)
		if err != nil {
			return fail(err)
		}
	} else {
		own, err := s.describePool(ctx, client, claim)
		if err != nil {
			return fail(err)
		}
		if opened, err = pool.Ensure(ctx, own); err != nil {
			return fail(err)
		}
		s.own, s.imported = &own, s.imported || opened.Imported
	}
	info.poolName = opened.Name.String()
	return client, opened, info, nil
}

// openEngine opens the pool for the registry's cluster, and finds out which that
// is. A registry that was never used gets a new identity; what a pool holds that it
// does not know is added to it, with leave.
func (s *Server) openEngine(ctx context.Context, st *store.Store, client *zfs.Client, opened pool.Opened, root engine.Identity) (*engine.Engine, store.Cluster, error) {
	fail := func(err error) (*engine.Engine, store.Cluster, error) { return nil, store.Cluster{}, err }
	f, err := findFooting(ctx, st, root, s.cfg.mayRecover())
	if err != nil {
		return fail(err)
	}
	e, err := engine.Open(engine.Config{ZFS: client, Root: opened.Root, Identity: root, ClusterID: f.id, RunDir: s.cfg.RunDir, Hook: s.cfg.Crash})
	if err != nil {
		return fail(err)
	}
	if err := s.setUpFenced(ctx, e); err != nil {
		return fail(err)
	}
	if !f.recover {
		return e, f.registry.Value, nil
	}
	cluster, err := recoverRegistry(ctx, st, e, f, s.cfg.NodeName)
	if err != nil {
		return fail(err)
	}
	return e, cluster, nil
}

// setUpFenced makes the root whole, and the fence on until the registry was asked
// which heads are ours: after an import, and where no deadline of this boot tells
// that an earlier server may have lifted it.
func (s *Server) setUpFenced(ctx context.Context, e *engine.Engine) error {
	if err := e.SetUpRoot(ctx); err != nil {
		return err
	}
	file, err := s.deadlineFile(e)
	if err != nil {
		return err
	}
	promised, err := file.read()
	if err != nil {
		return err
	}
	return e.FenceImport(ctx, promised == 0)
}

func (s *Server) deadlineFile(e *engine.Engine) (deadlineFile, error) {
	boot, err := hostclock.BootID()
	return deadlineFile{dir: s.poolDir(e.PoolID()), dataset: e.Parent().String(), bootID: boot}, err
}

// openPlane opens registry and pool. The pool is not listed before the plane's
// keeper has the pool's lease.
func (s *Server) openPlane(ctx context.Context, st *store.Store) (*plane, error) {
	st.TakeAsItIs() // nothing was decided yet on what it said at an earlier try
	claim, err := s.enterClaim(ctx, st)
	if err != nil {
		return nil, err
	}
	client, opened, info, err := s.openPool(ctx, claim)
	if err != nil {
		return nil, err
	}
	root, err := engine.Identify(ctx, client, opened.Root)
	if err != nil {
		return nil, err
	}
	if err := s.noteImported(ctx, st, root.Pool); err != nil {
		return nil, err
	}
	lock, err := s.keepOthersAway(ctx, s.poolDir(root.Pool))
	if err != nil {
		return nil, err
	}
	client = client.Holding(lock)
	e, cluster, err := s.openEngine(ctx, st, client, opened, root)
	if errors.Is(err, engine.ErrAnothers) && s.imported {
		s.putBack(ctx)
	}
	if err != nil {
		return nil, err
	}
	state, err := e.State(ctx)
	if err != nil {
		return nil, err
	}
	if state.SizeBytes, state.FreeBytes, err = e.Capacity(ctx); err != nil {
		return nil, err
	}
	p := &plane{
		store: st, engine: e, cluster: cluster, pool: e.PoolID(), node: s.cfg.NodeName,
		locks: newKeyLocks(), work: s.work, tails: newTails(st), memory: newMemory(), about: info, now: func() time.Time { return time.Now().UTC() },
		health: newHealthCache(e.Health, s.metrics, state), stillAssigned: s.stillAssigned, peers: s.peers,
		growth: s.growth(opened.SizeBytes), published: &published{}, wanted: &wanted{}, rebuilding: s.cfg.rebuilding,
	}
	err = registerPool(ctx, st, dot.Pool{
		ID: p.pool, Name: info.poolName, Node: p.node, Address: s.cfg.advertised(), Zone: s.cfg.Zone, Generation: s.assignment.Generation, SizeBytes: state.SizeBytes, FreeBytes: state.FreeBytes, Health: state.State,
		ZFSVersion: info.zfsModule, Incarnation: cluster.Incarnation, PromisedFence: promisedFence,
	})
	if err != nil {
		return nil, err
	}
	p.lease, err = s.newKeeper(p)
	klog.FromContext(ctx).Info("opened pool", "pool", p.pool, "root", opened.Root.String(), "cluster", cluster.ID, "incarnation", cluster.Incarnation,
		"imported", opened.Imported, "created", opened.Created, "zfs", info.zfsModule)
	return p, err
}

func (s *Server) newKeeper(p *plane) (*leaseKeeper, error) {
	file, err := s.deadlineFile(p.engine)
	if err != nil {
		return nil, err
	}
	earlier, err := file.read()
	if err != nil {
		return nil, err
	}
	me := store.Instance{Name: p.node + "/" + p.pool.String(), BootID: file.bootID}
	return &leaseKeeper{
		acquire: func(ctx context.Context) (heldLease, error) {
			l, err := p.store.AcquirePoolLease(ctx, p.pool, me, leaseTTL)
			if err != nil {
				return nil, err
			}
			return l, nil
		},
		begin: p.takeStock, failed: make(chan error, 1), check: p.checkHeads, fence: p.engine.Fence, record: file.write, boot: hostclock.SinceBoot, promised: promisedFence,
		observe: func(held bool) {
			value := 0.0
			if held {
				value = 1
			}
			s.metrics.lease.Set(value)
		},
		deadline: earlier, served: make(chan struct{}),
	}, nil
}

func (s *Server) poolDir(pool dot.PoolID) string { return filepath.Join(s.cfg.RunDir, pool.String()) }

// keepOthersAway takes the lock in a directory, once for all attempts to open the
// pool.
func (s *Server) keepOthersAway(ctx context.Context, dir string) (*os.File, error) {
	if held := s.locks[dir]; held != nil {
		return held, nil
	}
	taken, err := lockPool(ctx, dir, poolLockWait)
	if err == nil {
		s.locks[dir] = taken
	}
	return taken, err
}

func (s *Server) letOthersIn() {
	for dir, held := range s.locks {
		_ = held.Close()
		delete(s.locks, dir)
	}
}

// takeStock lists the pool and compares it with the registry, once nobody else
// can change either.
func (p *plane) takeStock(ctx context.Context, lease heldLease, later bool) error {
	breaks := lease.Breaks()
	if err := p.isSameRegistry(ctx); err != nil {
		return err
	}
	if err := p.stillAssigned(ctx, p.store); err != nil {
		return err
	}
	if later {
		if err := p.compareAgain(ctx); err != nil {
			return err
		}
		p.memory.clear()
		return p.settleAgain(ctx, lease, breaks)
	}
	inv, err := p.engine.Load(ctx)
	if err != nil {
		return err
	}
	if err := p.checkInventory(ctx, inv); err != nil {
		return err
	}
	if err := p.noteCompared(ctx, lease); err != nil {
		return err
	}
	return p.engine.RaiseIncarnation(ctx, p.cluster.Incarnation)
}
