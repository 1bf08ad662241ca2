package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/embedded"
)

// Server serves one pool.
type Server struct {
	cfg      Config
	etcd     *embedded.Server
	work     *worker
	metrics  *metrics
	registry *prometheus.Registry

	peers    *peers
	plane    atomic.Pointer[plane]
	users    atomic.Pointer[store.Store]
	locks    map[string]*os.File // held, by directory; they belong to the goroutine that brings the server up
	own      *pool.Config        // the pool that this server imports and exports itself; belongs to that goroutine too
	imported bool                // this process has imported that pool; belongs to it too

	assignment pool.Assignment
	gate       gate             // of the calls to what the plane serves
	releases   chan releaseCall // received while the pool is served
	released   chan struct{}    // closed then

	mu      sync.Mutex
	waiting error // why there is no plane yet
}

// New checks the configuration; nothing is opened or changed before Run.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.SettingsDir != "" {
		cfg.settings = newSettings(cfg.SettingsDir)
	}
	s := &Server{
		cfg: cfg, work: newWorker(), registry: prometheus.NewRegistry(), locks: map[string]*os.File{},
		releases: make(chan releaseCall), released: make(chan struct{}),
	}
	if cfg.Pool.Claim != "" {
		claim, err := dot.ParseClaimID(cfg.Pool.Claim)
		if err != nil {
			return nil, err
		}
		s.assignment = pool.Assignment{Claim: claim, Generation: cfg.Pool.Generation}
	}
	s.waitFor(dot.Unavailable("the server is starting"))
	var err error
	if s.metrics, err = newMetrics(s.registry, s.work.length); err != nil {
		return nil, err
	}
	err = firstError(
		s.registry.Register(collectors.NewGoCollector()),
		s.registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
	)
	return s, err
}

// Run serves until ctx ends, which is no error, or the server cannot go on. The
// volumes that are mounted stay as they are either way.
func (s *Server) Run(ctx context.Context) error {
	if s.cfg.Etcd.Embedded != "" {
		etcd, err := embedded.Start(ctx, embedded.Config{Dir: s.cfg.Etcd.Embedded})
		if err != nil {
			return err
		}
		defer etcd.Close()
		s.etcd = etcd
	}
	tlsConfig, secretDir, err := s.identity(ctx)
	if err != nil {
		return err
	}
	defer s.peers.close()
	listener, err := listenTLS(ctx, s.cfg.Listen, tlsConfig)
	if err != nil {
		return err
	}
	auth := newAuthenticator(secretDir, s.findUser)
	if !auth.adminKey.present() {
		klog.FromContext(ctx).Info("there is no API key for the admin yet, so that nobody can call", "file", auth.adminKey.path)
	}
	outer := newEndpoint(ctx, "api", listener, s.api(auth))
	probes, err := s.probes(ctx)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	klog.FromContext(ctx).Info("listening", "address", listener.Addr().String(), "version", s.cfg.Version)

	// The lease and the work under it outlive the calls that are still answered.
	inside, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var within sync.WaitGroup
	g, serving := errgroup.WithContext(ctx)
	g.Go(func() error { return outer.serve(serving) })
	if probes != nil {
		g.Go(func() error { return probes.serve(serving) })
	}
	g.Go(func() error { return s.bringUp(serving, inside, &within) })
	if s.etcd != nil {
		g.Go(func() error { return s.watchEtcd(serving) })
	}
	err = g.Wait()
	stop()
	within.Wait()
	if st := s.users.Load(); st != nil {
		st.Close()
	}
	s.letOthersIn()
	klog.FromContext(ctx).Info("stopped", "err", err)
	return err
}

// bringUp opens everything, waiting for what is away, then serves the node
// service's socket, until the pool is released.
func (s *Server) bringUp(ctx, inside context.Context, within *sync.WaitGroup) error {
	p, err := s.openAll(ctx)
	if errors.Is(err, pool.ErrReleased) {
		err = s.retry(ctx, "release", func() error { return s.stayReleased(ctx, s.users.Load()) })
		return dropCancelled(ctx, err)
	}
	if errors.Is(err, pool.ErrGivenAway) {
		s.exportGivenAway(ctx, s.users.Load())
	}
	if err != nil {
		return dropCancelled(ctx, err)
	}
	t := beginTenure(inside, within, p)
	s.waitFor(dot.Unavailable("the server is starting: it waits for its pool's lease"))
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.lease.failed:
		return err
	case <-p.lease.served:
	}
	settling, settled := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-settling.Done():
		case err := <-p.lease.failed:
			settled(err)
		}
	}()
	err = s.retry(settling, "settle", func() error { return p.settle(settling) })
	if cause := context.Cause(settling); err != nil && cause != nil && ctx.Err() == nil {
		err = cause
	}
	settled(nil)
	if err != nil {
		return dropCancelled(ctx, err)
	}
	t.work(s.work.run)
	l, err := listenSocket(ctx, s.poolDir(p.pool))
	if err != nil {
		return err
	}
	s.plane.Store(p)
	klog.FromContext(ctx).Info("ready", "pool", p.pool, "node", p.node)
	g, serving := errgroup.WithContext(ctx)
	g.Go(func() error { return newEndpoint(ctx, "node socket", l, s.nodeAPI()).serve(serving) })
	g.Go(func() error { return s.attend(serving, t) })
	if err := g.Wait(); !errors.Is(err, errReleased) {
		return dropCancelled(ctx, err)
	}
	return nil
}

func dropCancelled(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// openAll opens registry and pool; what is away is waited for.
func (s *Server) openAll(ctx context.Context) (*plane, error) {
	var p *plane
	var st *store.Store
	err := s.retry(ctx, "open", func() (err error) {
		if st == nil {
			if st, err = s.openStore(ctx); err != nil {
				return err
			}
			s.users.Store(st)
		}
		p, err = s.openPlane(ctx, st)
		return err
	})
	return p, err
}

// retry repeats a step of the start for as long as something is away.
func (s *Server) retry(ctx context.Context, step string, try func() error) error {
	const first, most = 200 * time.Millisecond, 5 * time.Second
	said := ""
	for delay := first; ; delay = min(2*delay, most) {
		err := try()
		if err == nil {
			return nil
		}
		if !passes(err) && !s.mayGetLeave(err) {
			return err
		}
		s.waitFor(dot.Unavailable("the server is starting: %w", err))
		if why := err.Error(); why != said {
			klog.FromContext(ctx).Info("waiting", "step", step, "because", why)
			said = why
		}
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// passes tells whether a failure to start may be over by itself.
func passes(err error) bool {
	switch dot.CodeOf(err) {
	case dot.CodeUnavailable, dot.CodeAborted, dot.CodeDeadline:
		return true
	}
	return false
}

// mayGetLeave: the settings can give what a start was refused for, at any time.
func (s *Server) mayGetLeave(err error) bool {
	return s.cfg.SettingsDir != "" && errors.Is(err, errNeedsLeave)
}

func (s *Server) waitFor(err error) {
	s.mu.Lock()
	s.waiting = err
	s.mu.Unlock()
}

// ready gives the plane, or says why there is none yet.
func (s *Server) ready() (*plane, error) {
	if p := s.plane.Load(); p != nil {
		return p, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return nil, s.waiting
}

func (s *Server) findUser(ctx context.Context, name dot.Namespace) (store.Record[store.User], error) {
	st := s.users.Load()
	if st == nil {
		_, err := s.ready()
		return store.Record[store.User]{}, err
	}
	return st.GetUser(ctx, name)
}

func (s *Server) watchEtcd(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.etcd.Err():
		return dot.Errorf(dot.CodeInternal, "embedded etcd stopped: %w", err)
	}
}

// identity gives the certificate to show and the directory of the admin's
// secrets. Beside an embedded etcd the server makes what it was not given.
func (s *Server) identity(ctx context.Context) (*tls.Config, string, error) {
	files := pki.Files{CA: s.cfg.ClientCA, Cert: s.cfg.TLSCert, Key: s.cfg.TLSKey}
	secretDir := s.cfg.SecretDir
	var err error
	if files.Cert == "" {
		names := pki.LocalNames()
		if name, err := os.Hostname(); err == nil {
			names.DNS = append(names.DNS, name)
		}
		if files, err = pki.EnsureDir(filepath.Join(s.cfg.Etcd.Embedded, "tls"), names, time.Now()); err != nil {
			return nil, "", dot.Errorf(dot.CodeInternal, "make the server's certificates: %w", err)
		}
		klog.FromContext(ctx).Info("serving with certificates of our own", "ca", files.CA)
	}
	if secretDir == "" {
		secretDir = filepath.Join(s.cfg.Etcd.Embedded, "secret")
		if err := makeSecretDir(secretDir); err != nil {
			return nil, "", err
		}
		klog.FromContext(ctx).Info("the admin's API key is in a file", "file", filepath.Join(secretDir, apiKeyFile))
	}
	cfg, err := files.ServerConfig(pki.RoleServer, pki.RoleOperator)
	if err == nil {
		s.peers, err = newPeers(files, s.cfg.PeerName)
	}
	if err != nil {
		return nil, "", dot.Invalid("the server's certificates cannot be used: %w", err)
	}
	return cfg, secretDir, nil
}

// api is what the TLS port serves.
func (s *Server) api(auth *authenticator) http.Handler {
	mux, calls := http.NewServeMux(), http.NewServeMux()
	opts, gated := s.callOptions(), connect.WithInterceptors(s.gate.pass())
	calls.Handle(dotmeshv1connect.NewDotServiceHandler(dotHandler{s.ready}, opts, gated))
	calls.Handle(dotmeshv1connect.NewVolumeServiceHandler(volumeHandler{s.ready}, opts, gated))
	calls.Handle(dotmeshv1connect.NewServerServiceHandler(statusHandler{s}, opts))
	mux.Handle("/", auth.require(calls))
	addHealth(mux, s.ready)
	mux.Handle("GET /metrics", auth.require(askingHealth(s.ready, promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))))
	return mux
}

// probes is what kubelet asks, nil where nothing is to listen for it.
func (s *Server) probes(ctx context.Context) (*endpoint, error) {
	if s.cfg.HealthListen == "" {
		return nil, nil
	}
	mux := http.NewServeMux()
	addHealth(mux, s.ready)
	return newHealthEndpoint(ctx, s.cfg.HealthListen, mux)
}

// nodeAPI is what the unix socket serves.
func (s *Server) nodeAPI() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(dotmeshv1connect.NewNodeServiceHandler(nodeHandler{s.ready}, s.callOptions(), connect.WithInterceptors(s.gate.pass())))
	return mux
}

func (s *Server) callOptions() connect.HandlerOption {
	return connect.WithHandlerOptions(
		connect.WithInterceptors(s.metrics.around()),
		connect.WithReadMaxBytes(maxBody),
		connect.WithCompressMinBytes(compressFrom),
		connect.WithRecover(func(ctx context.Context, spec connect.Spec, _ http.Header, cause any) error {
			klog.FromContext(ctx).Error(nil, "panic", "procedure", spec.Procedure, "cause", cause)
			return connect.NewError(connect.CodeInternal, errPanic)
		}),
	)
}

var errPanic = dot.Errorf(dot.CodeInternal, "the server met a fault of its own; its log tells more")

func (s *Server) observe(args []string, d time.Duration, err error) {
	s.metrics.observeCommand(args, d, err)
}
