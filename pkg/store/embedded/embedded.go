// Package embedded runs etcd's server in this process, with its data in a
// directory: the registry of a single machine, and of tests.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

const (
	defaultStartTimeout = 60 * time.Second

	// maxSocketPath is what sockaddr_un holds, with its final NUL (unix(7)).
	maxSocketPath = 107
)

// Config tells where the server keeps its data.
type Config struct {
	// Dir is made, readable by root alone, if it is not there. One process at a
	// time can use it.
	Dir string
	// Socket is where to listen; "" means etcd.sock in Dir. Whoever can open it
	// can do anything, so its directory is kept readable by its owner alone.
	Socket string
	// StartTimeout bounds Start; 0 means a minute.
	StartTimeout time.Duration
	// UnsafeNoFsync loses data in a power cut; for tests.
	UnsafeNoFsync bool
}

// Server is a running etcd.
type Server struct {
	etcd     *embed.Etcd
	endpoint string
	lock     *os.File
	closing  atomic.Bool
}

// Start runs the server and answers when it serves requests.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	socket := cfg.Socket
	if socket == "" {
		socket = filepath.Join(cfg.Dir, "etcd.sock")
	}
	lock, err := claim(cfg.Dir, socket)
	if err != nil {
		return nil, err
	}
	s := &Server{endpoint: "unix://" + socket, lock: lock}
	if err := s.start(ctx, cfg, socket); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, cfg Config, socket string) error {
	timeout := cfg.StartTimeout
	if timeout == 0 {
		timeout = defaultStartTimeout
	}
	c := etcdConfig(cfg, socket, logger(ctx, &s.closing))
	if err := checkDatabase(c.Dir); err != nil {
		return err
	}
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		return dot.Errorf(dot.CodeInternal, "start etcd with its data in %s: %w", cfg.Dir, err)
	}
	s.etcd = etcd
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case <-etcd.Server.ReadyNotify():
		klog.FromContext(ctx).Info("embedded etcd is ready", "dir", cfg.Dir)
		return nil
	case err := <-etcd.Err():
		return dot.Errorf(dot.CodeInternal, "start etcd with its data in %s: %w", cfg.Dir, err)
	case <-etcd.Server.StopNotify():
		return dot.Errorf(dot.CodeInternal, "etcd with its data in %s stopped while it started", cfg.Dir)
	case <-late.C:
		return dot.Unavailable("etcd with its data in %s was not ready after %s", cfg.Dir, timeout)
	case <-ctx.Done():
		return dot.Unavailable("etcd with its data in %s was not ready: %w", cfg.Dir, ctx.Err())
	}
}

// Endpoint is what store.Config takes.
func (s *Server) Endpoint() string { return s.endpoint }

// Err gives an error when the server fails while it runs; Close closes it.
func (s *Server) Err() <-chan error { return s.etcd.Err() }

// Close stops the server after the requests under way, within seconds.
func (s *Server) Close() {
	s.closing.Store(true)
	if s.etcd != nil {
		s.etcd.Close()
	}
	_ = s.lock.Close()
}

// etcdConfig makes a cluster of one that listens on the socket alone.
func etcdConfig(cfg Config, socket string, log *zap.Logger) *embed.Config {
	// A cluster of one has nobody to talk to; the address is a name only.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:2380"}
	client := url.URL{Scheme: "unix", Path: socket}
	c := embed.NewConfig()
	c.Name = "embedded"
	c.Dir = filepath.Join(cfg.Dir, "data")
	c.ListenPeerUrls, c.AdvertisePeerUrls = nil, []url.URL{peer}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.EnableGRPCGateway = false
	// A leader of one cannot lose an election; the short one makes it ready soon.
	c.TickMs, c.ElectionMs = 50, 500
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, "1h"
	c.UnsafeNoFsync = cfg.UnsafeNoFsync
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	return c
}

// checkDatabase refuses a damaged database, on which etcd panics. Only its head
// is read.
func checkDatabase(dir string) error {
	path := filepath.Join(dir, "member", "snap", "db")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return dot.Precondition("the database of etcd in %s cannot be read: %w; move it away and start with --recover to rebuild the registry from the pool", path, err)
	}
	return db.Close()
}

// claim makes the directories, takes the lock of Dir, and removes the socket
// that a killed server left.
func claim(dir, socket string) (*os.File, error) {
	if len(socket) > maxSocketPath || !filepath.IsAbs(socket) {
		return nil, dot.Invalid("etcd's socket %s must be an absolute path of at most %d bytes", socket, maxSocketPath)
	}
	for _, d := range []string{dir, filepath.Dir(socket)} {
		if err := private(d); err != nil {
			return nil, err
		}
	}
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		_ = lock.Close()
		return nil, fmt.Errorf("remove the old socket of etcd: %w", err)
	}
	return lock, nil
}

// private makes a directory that only its owner can enter, and refuses one that
// others can.
func private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of etcd: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("make the directory of etcd: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return dot.Precondition("directory %s of etcd can be read by others: chmod 0700 it", dir)
	}
	return nil
}
