package csi

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestToStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		want codes.Code
	}{
		{dot.Invalid("x"), codes.InvalidArgument},
		{dot.NotFound("x"), codes.NotFound},
		{dot.Errorf(dot.CodeExists, "x"), codes.AlreadyExists},
		{dot.Errorf(dot.CodePermission, "x"), codes.PermissionDenied},
		{dot.Errorf(dot.CodeUnauthenticated, "x"), codes.Unauthenticated},
		{dot.Precondition("x"), codes.FailedPrecondition},
		{dot.Errorf(dot.CodeAborted, "x"), codes.Aborted},
		{dot.Unavailable("x"), codes.Unavailable},
		{dot.Errorf(dot.CodeExhausted, "x"), codes.ResourceExhausted},
		{dot.Errorf(dot.CodeOutOfRange, "x"), codes.OutOfRange},
		{dot.Errorf(dot.CodeDeadline, "x"), codes.DeadlineExceeded},
		{dot.Errorf(dot.CodeInternal, "x"), codes.Internal},
		{errors.New("x"), codes.Internal},
		{fmt.Errorf("x: %w", dot.NotFound("y")), codes.NotFound},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), codes.DeadlineExceeded},
		{context.Canceled, codes.Canceled},
		{status.Error(codes.Unimplemented, "x"), codes.Unimplemented},
	} {
		got := status.Convert(ToStatus(c.err))
		if got.Code() != c.want {
			t.Errorf("%v: got %s, want %s", c.err, got.Code(), c.want)
		}
	}
	if ToStatus(nil) != nil {
		t.Error("no error became one")
	}
	if got, want := status.Convert(ToStatus(fmt.Errorf("mount: %w", dot.NotFound("no dot")))).Message(), "mount: no dot"; got != want {
		t.Errorf("got message %q, want %q", got, want)
	}
	if got := status.Convert(ToStatus(errors.New("a\xffb"))).Message(); got != "a\uFFFDb" {
		t.Errorf("got message %q, which gRPC cannot carry", got)
	}
}
