package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/netutil"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

const (
	maxHeader      = 16 << 10
	maxBody        = 4 << 20
	maxConnections = 1024
	stopTimeout    = 15 * time.Second
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
	l, err := (&net.ListenConfig{KeepAlive: 15 * time.Second}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, dot.Errorf(dot.CodeInternal, "listen on %s: %w", address, err)
	}
	return tls.NewListener(netutil.LimitListener(l, maxConnections), cfg), nil
}
