package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

const (
	maxHeader      = 16 << 10
	maxBody        = 4 << 20
	compressFrom   = 16 << 10 // bytes of an answer: making a smaller one smaller takes longer than sending it
	maxConnections = 1024
	stopTimeout    = 15 * time.Second

	// apiPerPeer is what one address may hold of the API's connections: enough
	// for many people behind one gateway, far too few to keep others out.
	apiPerPeer = 128
	// healthPerPeer is that of the health's listener, which has no bound for all,
	// so that nobody can use it up before kubelet asks.
	healthPerPeer = 8
	healthTimeout = 10 * time.Second
)

// endpoint is one listener with what it serves.
type endpoint struct {
	name     string
	listener net.Listener
	http     *http.Server
}

// newEndpoint limits what a stranger can cost: headers, and how long a request
// may take to arrive. HTTP/2 needs l to give *tls.Conn.
func newEndpoint(ctx context.Context, name string, l net.Listener, h http.Handler) *endpoint {
	logger := klog.FromContext(ctx).WithValues("endpoint", name)
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &endpoint{name: name, listener: l, http: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 250, SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		BaseContext:       func(net.Listener) context.Context { return klog.NewContext(context.WithoutCancel(ctx), logger) },
		ErrorLog:          log.New(connectionLog{logger}, "", 0),
	}}
}

// connectionLog takes what net/http says of connections: garbage, broken
// handshakes, scanners. It matters to who looks for it only.
type connectionLog struct{ logger klog.Logger }

func (c connectionLog) Write(b []byte) (int, error) {
	c.logger.V(4).Info("connection", "problem", strings.TrimSpace(string(b)))
	return len(b), nil
}

// serve serves until ctx ends, then lets calls under way finish.
func (e *endpoint) serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- e.http.Serve(e.listener) }()
	select {
	case err := <-failed:
		return dot.Errorf(dot.CodeInternal, "serve %s: %w", e.name, err)
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := e.http.Shutdown(bounded); err != nil {
		_ = e.http.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return dot.Errorf(dot.CodeInternal, "serve %s: %w", e.name, err)
	}
	return nil
}

// listenTLS opens the API's port, for a limited number of connections.
func listenTLS(ctx context.Context, address string, cfg *tls.Config) (net.Listener, error) {
	l, err := listenTCP(ctx, address, apiPerPeer)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(netutil.LimitListener(l, maxConnections), cfg), nil
}

// newHealthEndpoint opens the port of kubelet's probes. It is not the API's:
// whoever uses up the API's connections must not have the server killed.
func newHealthEndpoint(ctx context.Context, address string, h http.Handler) (*endpoint, error) {
	l, err := listenTCP(ctx, address, healthPerPeer)
	if err != nil {
		return nil, err
	}
	e := newEndpoint(ctx, "health", l, h)
	e.http.ReadHeaderTimeout, e.http.ReadTimeout, e.http.WriteTimeout = healthTimeout, healthTimeout, healthTimeout
	e.http.SetKeepAlivesEnabled(false)
	return e, nil
}

func listenTCP(ctx context.Context, address string, perPeer int) (net.Listener, error) {
	l, err := (&net.ListenConfig{KeepAlive: 15 * time.Second}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, dot.Errorf(dot.CodeInternal, "listen on %s: %w", address, err)
	}
	return &peerListener{Listener: l, most: perPeer, held: map[netip.Addr]int{}}, nil
}

// peerListener closes connections beyond a number that one address may hold.
type peerListener struct {
	net.Listener
	most int

	mu   sync.Mutex
	held map[netip.Addr]int
}

// Accept waits for a connection from an address that may have one more.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		var peer netip.Addr
		if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
			peer = tcp.AddrPort().Addr().Unmap()
		}
		if l.take(peer) {
			return &peerConn{Conn: c, release: sync.OnceFunc(func() { l.release(peer) })}, nil
		}
		_ = c.Close() // there is nobody to tell
	}
}

func (l *peerListener) take(peer netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[peer] >= l.most {
		return false
	}
	l.held[peer]++
	return true
}

func (l *peerListener) release(peer netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[peer]--; l.held[peer] == 0 {
		delete(l.held, peer)
	}
}

// peerConn counts until it is closed.
type peerConn struct {
	net.Conn
	release func()
}

// Close closes the connection; its address may then have another.
func (c *peerConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// hangUp has the connection closed after this answer, so that a stranger keeps
// none open. net/http does it for HTTP/2 too, with a GOAWAY.
func hangUp(w http.ResponseWriter) { w.Header().Set("Connection", "close") }
