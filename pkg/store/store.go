package store

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
)

// DefaultPrefix is what every key of ours begins with in etcd.
const DefaultPrefix = "/dotmesh/"

const (
	defaultRequestTimeout = 5 * time.Second
	defaultDialTimeout    = 5 * time.Second

	// A dead connection is noticed within the sum of these two.
	// Only connections with a request under way are pinged: etcd closes on
	// clients that ping idle ones, or oftener than every 5 s.
	pingInterval = 10 * time.Second
	pingTimeout  = 3 * time.Second

	// gRPC's own delay between attempts to connect grows to two minutes, many
	// times the length of a lease.
	maxReconnectDelay = time.Second
	minConnectTimeout = 3 * time.Second
)

// Config tells where the registry is.
type Config struct {
	// Endpoints are URLs: https://host:port, http://host:port or unix:///path.
	Endpoints []string
	// TLS is for https endpoints.
	TLS *TLS
	// Prefix of all keys; "" means DefaultPrefix. It ends with "/".
	Prefix string
	// DialTimeout bounds Open, RequestTimeout every request that has no shorter
	// deadline of its own; 0 means 5 s.
	DialTimeout    time.Duration
	RequestTimeout time.Duration
	// Hook is passed before and after every mutating call; for tests.
	Hook crash.Hook
}

// Validate tells what is wrong with the configuration.
func (c Config) Validate() error {
	if len(c.Endpoints) == 0 {
		return dot.Invalid("no etcd endpoint is given")
	}
	secure := 0
	for _, e := range c.Endpoints {
		switch {
		case strings.HasPrefix(e, "https://"):
			secure++
		case strings.HasPrefix(e, "http://"), strings.HasPrefix(e, "unix:///"):
		default:
			return dot.Invalid("etcd endpoint %q is not https://host:port, http://host:port or unix:///path", e)
		}
	}
	switch {
	case secure != 0 && secure != len(c.Endpoints):
		return dot.Invalid("etcd endpoints mix https with others: %s", strings.Join(c.Endpoints, ", "))
	case secure != 0 && c.TLS == nil:
		return dot.Invalid("etcd endpoints are https, but no CA and client certificate are given")
	case secure == 0 && c.TLS != nil:
		return dot.Invalid("etcd certificates are given, but the endpoints are not https: %s", strings.Join(c.Endpoints, ", "))
	case c.Prefix != "" && !strings.HasSuffix(c.Prefix, "/"):
		return dot.Invalid("the prefix of etcd keys %q does not end with \"/\"", c.Prefix)
	}
	return nil
}

// Store is a connection to the registry.
type Store struct {
	client  *clientv3.Client
	prefix  string
	where   string
	hint    string // what else to check when etcd does not answer
	timeout time.Duration
	hook    crash.Hook
	forward forward
	breaks  atomic.Uint64 // how often the connection was lost
}

// Open connects, and answers only when etcd has: CodeUnavailable after
// Config.DialTimeout otherwise.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Store{
		prefix:  orElse(cfg.Prefix, DefaultPrefix),
		where:   strings.Join(cfg.Endpoints, ", "),
		timeout: orElse(cfg.RequestTimeout, defaultRequestTimeout),
		hint:    " and can be reached",
		hook:    cfg.Hook,
	}
	options := []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxReconnectDelay},
		MinConnectTimeout: minConnectTimeout,
	}), grpc.WithChainUnaryInterceptor(noteFailure, s.forward.intercept)}
	if cfg.TLS != nil {
		creds, err := cfg.TLS.credentials()
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithTransportCredentials(creds))
		s.hint = ", can be reached, and that the certificates on both sides are of the same CA"
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		DialKeepAliveTime:    pingInterval,
		DialKeepAliveTimeout: pingTimeout,
		Logger:               zap.NewNop(), // errors come back from the calls, and we log them
		DialOptions:          options,
	})
	if err != nil {
		return nil, dot.Errorf(dot.CodeInternal, "connect to etcd at %s: %w", s.where, err)
	}
	s.client = client
	go s.countBreaks()
	dialing, cancel := context.WithTimeout(ctx, orElse(cfg.DialTimeout, defaultDialTimeout))
	defer cancel()
	if err := s.Ping(dialing); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// countBreaks counts how often the connection was lost, until the store is closed.
func (s *Store) countBreaks() {
	conn := s.client.ActiveConnection()
	for state := conn.GetState(); conn.WaitForStateChange(s.client.Ctx(), state); state = conn.GetState() {
		if state == connectivity.Ready {
			s.breaks.Add(1)
		}
	}
}

// Close ends all watches and the renewing of leases, which are not revoked.
func (s *Store) Close() { _ = s.client.Close() }

// Ping asks etcd for a read that needs its quorum.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.Revision(ctx)
	return err
}

// Revision is the registry's present revision: it grows with every change.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	var revision int64
	err := s.call(ctx, "reach the registry", func(ctx context.Context) error {
		resp, err := s.client.Get(ctx, s.full(ClusterKey()), clientv3.WithKeysOnly())
		if err == nil {
			revision = resp.Header.Revision
		}
		return err
	})
	return revision, err
}

// call bounds one request and explains its error.
func (s *Store) call(ctx context.Context, doing string, request func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	bounded, failure := withFailure(bounded)
	err := request(bounded)
	if errors.Is(err, context.DeadlineExceeded) && failure.last != nil {
		err = failure.last
	}
	return s.fault(ctx, doing, err)
}

func (s *Store) full(k Key) string { return s.prefix + k.String() }

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
