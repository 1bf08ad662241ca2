package client

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// DefaultPort is where a server listens.
const DefaultPort = "32607"

const (
	defaultTimeout = 60 * time.Second
	// peerTimeout is above what a server gives a call, whose context ends first.
	peerTimeout = 3 * time.Minute
	dialTimeout = 5 * time.Second
	maxReply    = 64 << 20
)

// Config says which server to call and as whom.
type Config struct {
	// Address is host or host:port; the port defaults to DefaultPort.
	Address string
	// Trust says which server to believe; one of its fields is set.
	Trust Trust
	// ServerName is the name to expect in the server's certificate; default: the
	// host of Address.
	ServerName string
	User       string
	// APIKey is asked before every call, so that a key in a mounted Secret is
	// followed when it changes.
	APIKey func() (string, error)
	// Certificate is asked for with every connection, where one shows who is
	// calling instead of an API key.
	Certificate func() (*tls.Certificate, error)
	// Timeout bounds each call, together with the context's deadline. Default
	// 60 s.
	Timeout time.Duration
}

// Client calls one server. It is safe for use by several goroutines.
type Client struct {
	Dots    dotmeshv1connect.DotServiceClient
	Volumes dotmeshv1connect.VolumeServiceClient
	Server  dotmeshv1connect.ServerServiceClient

	transport *http.Transport
}

// New prepares a client; it connects with the first call.
func New(cfg Config) (*Client, error) {
	if cfg.Address == "" {
		return nil, dot.Invalid("no address of a dotmesh server was given")
	}
	host, port, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		host, port = strings.Trim(cfg.Address, "[]"), DefaultPort
	}
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	tlsConfig, err := cfg.Trust.tlsConfig(cfg.ServerName)
	if err != nil {
		return nil, err
	}
	if cfg.Certificate != nil {
		tlsConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cfg.Certificate() }
	}
	transport := newTransport(tlsConfig)
	return newClient(net.JoinHostPort(host, port), transport, bound(cfg.Timeout), leaveUnavailable(transport), authenticate(cfg.User, cfg.APIKey)), nil
}

// NewPeer prepares a server's client of another one, at host:port. Both are told by
// what tlsConfig shows and believes; for whom a call is made is say's to tell.
func NewPeer(address string, tlsConfig *tls.Config, say connect.Interceptor) *Client {
	return newClient(address, newTransport(tlsConfig), bound(peerTimeout), say)
}

func newClient(address string, transport *http.Transport, interceptors ...connect.Interceptor) *Client {
	httpClient := &http.Client{Transport: transport, CheckRedirect: refuseRedirect}
	url := "https://" + address
	opts := connect.WithClientOptions(connect.WithInterceptors(interceptors...), connect.WithReadMaxBytes(maxReply))
	return &Client{
		Dots:      dotmeshv1connect.NewDotServiceClient(httpClient, url, opts),
		Volumes:   dotmeshv1connect.NewVolumeServiceClient(httpClient, url, opts),
		Server:    dotmeshv1connect.NewServerServiceClient(httpClient, url, opts),
		transport: transport,
	}
}

// Close ends idle connections; calls under way go on.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// newTransport speaks HTTP/2 and notices within 20 s when the server's machine
// went away without a word, so that the next call does not wait on a dead
// connection.
func newTransport(cfg *tls.Config) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:     cfg,
		TLSHandshakeTimeout: 2 * dialTimeout,
		ForceAttemptHTTP2:   true,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConns:        16,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: dialTimeout},
	}
}

// refuseRedirect: the API never redirects, and following would hand the API key
// to whom the answer names.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// NewNode prepares a client of the NodeService on a server's unix socket.
// Callers are told by their uid, so that there is no key.
func NewNode(socketPath string) dotmeshv1connect.NodeServiceClient {
	dialer := &net.Dialer{Timeout: dialTimeout}
	httpClient := &http.Client{CheckRedirect: refuseRedirect, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socketPath)
		},
		IdleConnTimeout: 30 * time.Second,
		MaxIdleConns:    4,
	}}
	return dotmeshv1connect.NewNodeServiceClient(httpClient, "http://dotmesh",
		connect.WithInterceptors(bound(0)), connect.WithReadMaxBytes(maxReply))
}
