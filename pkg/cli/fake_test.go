package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

const (
	fakeUser = "admin"
	fakeKey  = "a-key-of-the-fake"
)

// fakeServer is a fake: a TLS server that answers the API's calls with what a
// test put in it, and remembers what it was asked. It keeps no dots and knows no
// rules; those are tested with the real server.
type fakeServer struct {
	dotmeshv1connect.UnimplementedDotServiceHandler
	dotmeshv1connect.UnimplementedServerServiceHandler

	*httptest.Server

	mu sync.Mutex // guards what follows
	// dots and commits are what the calls answer.
	dots    []*dotmeshv1.Dot
	commits []*dotmeshv1.Commit
	// failures are returned by the next calls, in turn, before anything else.
	failures []error
	asked    []proto.Message
}

func startFake(t *testing.T) *fakeServer {
	t.Helper()
	return startFakeWith(t)
}

// startFakeWith uses certificates of the test instead of httptest's.
func startFakeWith(t *testing.T, certificates ...tls.Certificate) *fakeServer {
	t.Helper()
	f := &fakeServer{}
	mux := http.NewServeMux()
	mux.Handle(dotmeshv1connect.NewDotServiceHandler(f))
	mux.Handle(dotmeshv1connect.NewServerServiceHandler(f))
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, key, _ := r.BasicAuth(); user != fakeUser || key != fakeKey {
			_ = connect.NewErrorWriter().Write(w, r, api.ToConnect(dot.Errorf(dot.CodeUnauthenticated, "wrong user or API key")))
			return
		}
		mux.ServeHTTP(w, r)
	}))
	f.EnableHTTP2 = true
	f.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: certificates}
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

// address is host:port of the fake.
func (f *fakeServer) address() string { return f.Listener.Addr().String() }

func (f *fakeServer) fingerprint() string { return client.FingerprintOf(f.Certificate()) }

// caFile writes the fake's certificate, which signed itself, to a file.
func (f *fakeServer) caFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.crt")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (f *fakeServer) take(m proto.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, m)
	if len(f.failures) == 0 {
		return nil
	}
	err := f.failures[0]
	f.failures = f.failures[1:]
	return api.ToConnect(err)
}

// requests gives what was asked, without the calls that only try the connection.
func (f *fakeServer) requests() []proto.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []proto.Message
	for _, m := range f.asked {
		if _, ok := m.(*dotmeshv1.GetVersionRequest); !ok {
			out = append(out, m)
		}
	}
	return out
}

func (f *fakeServer) GetVersion(_ context.Context, r *connect.Request[dotmeshv1.GetVersionRequest]) (*connect.Response[dotmeshv1.GetVersionResponse], error) {
	if err := f.take(r.Msg); err != nil {
		return nil, err
	}
	return connect.NewResponse(&dotmeshv1.GetVersionResponse{Version: "1.2.3", ZfsModule: "2.1.11", ZfsUserland: "2.1.11"}), nil
}

func (f *fakeServer) ListDots(_ context.Context, r *connect.Request[dotmeshv1.ListDotsRequest]) (*connect.Response[dotmeshv1.ListDotsResponse], error) {
	if err := f.take(r.Msg); err != nil {
		return nil, err
	}
	return connect.NewResponse(&dotmeshv1.ListDotsResponse{Dots: f.dots}), nil
}

func (f *fakeServer) GetDot(_ context.Context, r *connect.Request[dotmeshv1.GetDotRequest]) (*connect.Response[dotmeshv1.GetDotResponse], error) {
	if err := f.take(r.Msg); err != nil {
		return nil, err
	}
	return connect.NewResponse(&dotmeshv1.GetDotResponse{Dot: f.dots[0]}), nil
}

func (f *fakeServer) CreateDot(_ context.Context, r *connect.Request[dotmeshv1.CreateDotRequest]) (*connect.Response[dotmeshv1.CreateDotResponse], error) {
	if err := f.take(r.Msg); err != nil {
		return nil, err
	}
	return connect.NewResponse(&dotmeshv1.CreateDotResponse{Dot: f.dots[0]}), nil
}

func (f *fakeServer) DeleteDot(_ context.Context, r *connect.Request[dotmeshv1.DeleteDotRequest]) (*connect.Response[dotmeshv1.DeleteDotResponse], error) {
	if err := f.take(r.Msg); err != nil {
		return nil, err
	}
	return connect.NewResponse(&dotmeshv1.DeleteDotResponse{}), nil
}

func (f *fakeServer) ShareDot(_ context.Context, r *connect.Request[dotmeshv1.ShareDotRequest]) (*connect.Response[dotmeshv1.ShareDotResponse], error) {
	if err := f.take(r.Msg); err != nil {
		return nil, err
	}
	return connect.NewResponse(&dotmeshv1.ShareDotResponse{Dot: f.dots[0]}), nil
}

func (f *fakeServer) ListCommits(_ context.Context, r *connect.Request[dotmeshv1.ListCommitsRequest]) (*connect.Response[dotmeshv1.ListCommitsResponse], error) {
	if err := f.take(r.Msg); err != nil {
		return nil, err
	}
	return connect.NewResponse(&dotmeshv1.ListCommitsResponse{Commits: f.commits}), nil
}

func (f *fakeServer) Commit(_ context.Context, r *connect.Request[dotmeshv1.CommitRequest]) (*connect.Response[dotmeshv1.CommitResponse], error) {
	if err := f.take(r.Msg); err != nil {
		return nil, err
	}
	return connect.NewResponse(&dotmeshv1.CommitResponse{Commit: f.commits[0]}), nil
}

// user is somebody at a terminal of their own.
type user struct {
	t    *testing.T
	home string
	env  map[string]string
	// types is the answer when a secret is asked for.
	types string
	stdin string
}

func newUser(t *testing.T) *user {
	return &user{t: t, home: t.TempDir(), env: map[string]string{}, types: fakeKey}
}

// dm runs the command and gives its exit code and what it wrote.
func (u *user) dm(args ...string) (code int, out, errOut string) {
	u.t.Helper()
	var o, e bytes.Buffer
	code = Main(u.t.Context(), "9.9.9", args, Terminal{
		In: strings.NewReader(u.stdin), Out: &o, Err: &e, Home: u.home,
		Getenv:     func(name string) string { return u.env[name] },
		ReadSecret: func(context.Context, string) (string, error) { return u.types, nil },
	})
	return code, o.String(), e.String()
}

// must runs the command, which has to succeed, and gives its output.
func (u *user) must(args ...string) string {
	u.t.Helper()
	code, out, errOut := u.dm(args...)
	if code != ExitOK {
		u.t.Fatalf("dm %s: exit code %d\n%s", strings.Join(args, " "), code, errOut)
	}
	return out
}

// newUserOf is a user with the fake as the current remote.
func newUserOf(t *testing.T, f *fakeServer) *user {
	u := newUser(t)
	u.must("remote", "add", "origin", f.address(), "--fingerprint", f.fingerprint())
	return u
}

func contains(t *testing.T, what, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s does not say %q; it says:\n%s", what, w, got)
		}
	}
}

// strangerCA signed nothing here.
const strangerCA = `-----BEGIN CERTIFICATE-----
MIIBfTCCASOgAwIBAgIUXG6NhBCmQhz5C8WDl4Wacyo7AsUwCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIc3RyYW5nZXIwIBcNMjYxMTIxMjIyNzA5WhgPMjEyNjEwMjgy
MjI3MDlaMBMxETAPBgNVBAMMCHN0cmFuZ2VyMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAECCSULinaaSNSMXl6qyE4gBziVLsYgiB/eAEMC/Xx0gwHGI3gWinB/2lL
RgTmS1WvMRXkBx0A5CMo70RVcLKa+6NTMFEwHQYDVR0OBBYEFGhGl7yl12SFK+VL
aLf0SygVXh9vMB8GA1UdIwQYMBaAFGhGl7yl12SFK+VLaLf0SygVXh9vMA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAPsafhgvORE8++d9Lpb6dekF
nbA0TuE3eCINA6Led4SfAiAG+CvKBnbggkFNZQt7VtlM972wxT8WWuu+iTAkcSbH
Tg==
-----END CERTIFICATE-----
`
