package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestErrorsKeepCodeAndMessageOverTheWire(t *testing.T) {
	for code := dot.CodeInternal; code <= dot.CodeDeadline; code++ {
		err := fmt.Errorf("while trying: %w", dot.Errorf(code, "a sentence"))
		got := api.FromConnect(overTheWire(t, api.ToConnect(err)))
		if dot.CodeOf(got) != code {
			t.Errorf("code %d came back as %d", code, dot.CodeOf(got))
		}
		if want := "while trying: a sentence"; got.Error() != want {
			t.Errorf("message: got %q, want %q", got, want)
		}
	}
}

// overTheWire lets a server answer with an error and gives what a client gets.
func overTheWire(t *testing.T, err error) error {
	t.Helper()
	const procedure = "/test.Service/Call"
	server := httptest.NewServer(connect.NewUnaryHandler(procedure,
		func(context.Context, *connect.Request[emptypb.Empty]) (*connect.Response[emptypb.Empty], error) {
			return nil, err
		}))
	defer server.Close()
	client := connect.NewClient[emptypb.Empty, emptypb.Empty](server.Client(), server.URL+procedure)
	_, got := client.CallUnary(t.Context(), connect.NewRequest(&emptypb.Empty{}))
	return got
}

func TestBrokenConnectionsAreNoVerdict(t *testing.T) {
	const procedure = "/test.Service/Call"
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer server.Close()
	client := connect.NewClient[emptypb.Empty, emptypb.Empty](server.Client(), server.URL+procedure)
	_, err := client.CallUnary(t.Context(), connect.NewRequest(&emptypb.Empty{}))
	if got := api.FromConnect(err); dot.CodeOf(got) != dot.CodeUnavailable {
		t.Errorf("got %v, want CodeUnavailable", got)
	}
}

func TestUnclassedErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want connect.Code
	}{
		{errors.New("odd"), connect.CodeInternal},
		{fmt.Errorf("zfs: %w", context.DeadlineExceeded), connect.CodeDeadlineExceeded},
		{fmt.Errorf("zfs: %w", context.Canceled), connect.CodeCanceled},
		{connect.NewError(connect.CodeUnimplemented, errors.New("no")), connect.CodeUnimplemented},
	} {
		if got := connect.CodeOf(api.ToConnect(c.err)); got != c.want {
			t.Errorf("ToConnect(%v): got %v, want %v", c.err, got, c.want)
		}
	}
	if api.ToConnect(nil) != nil || api.FromConnect(nil) != nil {
		t.Error("nil must stay nil")
	}
	if got := dot.CodeOf(api.FromConnect(context.DeadlineExceeded)); got != dot.CodeDeadline {
		t.Errorf("a passed deadline: got code %d, want %d", got, dot.CodeDeadline)
	}
}
