package store

import (
	"context"
	"errors"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestFault(t *testing.T) {
	s := &Store{where: "https://etcd:2379"}
	for name, c := range map[string]struct {
		err  error
		want dot.Code
	}{
		"no answer":           {status.Error(codes.Unavailable, "connection refused"), dot.CodeUnavailable},
		"no leader":           {rpctypes.ErrNoLeader, dot.CodeUnavailable},
		"half an answer":      {status.Error(codes.Unknown, "unexpected HTTP status code received from server: 200 (OK); malformed header: missing HTTP content-type"), dot.CodeUnavailable},
		"full":                {rpctypes.ErrNoSpace, dot.CodeExhausted},
		"too large":           {rpctypes.ErrRequestTooLarge, dot.CodeInternal},
		"another user":        {rpctypes.ErrPermissionDenied, dot.CodeInternal},
		"no sense":            {status.Error(codes.InvalidArgument, "key is not provided"), dot.CodeInternal},
		"our own":             {errors.New("encode a record"), dot.CodeInternal},
		"an earlier revision": {ErrWentBack, dot.CodeUnavailable},
	} {
		if got := s.fault(t.Context(), "read a thing", c.err); dot.CodeOf(got) != c.want || !errors.Is(got, c.err) {
			t.Errorf("%s: got %v (code %v), want code %v", name, got, dot.CodeOf(got), c.want)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got := s.fault(gone, "read a thing", status.Error(codes.Canceled, "")); dot.CodeOf(got) != dot.CodeAborted {
		t.Errorf("of a caller that is gone: got %v", got)
	}
}
