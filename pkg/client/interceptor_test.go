package client

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// answering lists no dots, or answers with an error.
type answering struct {
	dotmeshv1connect.UnimplementedDotServiceHandler
	code connect.Code // 0: none
}

func (a *answering) ListDots(context.Context, *connect.Request[dotmeshv1.ListDotsRequest]) (*connect.Response[dotmeshv1.ListDotsResponse], error) {
	if a.code != 0 {
		return nil, connect.NewError(a.code, nil)
	}
	return connect.NewResponse(&dotmeshv1.ListDotsResponse{}), nil
}

// TestAServerThatCannotServeIsLeft: behind one address there are several.
func TestAServerThatCannotServeIsLeft(t *testing.T) {
	handler := &answering{}
	mux := http.NewServeMux()
	mux.Handle(dotmeshv1connect.NewDotServiceHandler(handler))
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(mux)
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	c, err := New(Config{Address: s.Listener.Addr().String(), Trust: Trust{Fingerprint: FingerprintOf(s.Certificate())}})
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range []struct {
		code connect.Code
		want int32 // connections by then
	}{
		{0, 1}, {0, 1}, {connect.CodeNotFound, 1}, {connect.CodeUnavailable, 1}, {0, 2}, {0, 2},
	} {
		handler.code = call.code
		_, err := c.Dots.ListDots(t.Context(), connect.NewRequest(&dotmeshv1.ListDotsRequest{}))
		if got := connections.Load(); (err == nil) != (call.code == 0) || got != call.want {
			t.Errorf("after code %v: %d connections, want %d; %v", call.code, got, call.want, err)
		}
		if call.code == connect.CodeUnavailable && dot.CodeOf(err) != dot.CodeUnavailable {
			t.Errorf("got %v", err)
		}
	}
}
