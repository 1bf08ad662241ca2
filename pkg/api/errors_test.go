package api_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"connectrpc.com/connect"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestErrorsKeepCodeAndMessageOverTheWire(t *testing.T) {
	for code := dot.CodeInternal; code <= dot.CodeDeadline; code++ {
		err := fmt.Errorf("while trying: %w", dot.Errorf(code, "a sentence"))
		got := api.FromConnect(api.ToConnect(err))
		if dot.CodeOf(got) != code {
			t.Errorf("code %d came back as %d", code, dot.CodeOf(got))
		}
		if want := "while trying: a sentence"; got.Error() != want {
			t.Errorf("message: got %q, want %q", got, want)
		}
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
