package csi

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// ToStatus gives an error the gRPC code that the CSI specification wants and
// keeps its message, which sidecars show as an Event. A status stays as it is.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, already := status.FromError(err); already {
		return err
	}
	return status.Error(codeOf(err), strings.ToValidUTF8(err.Error(), "\uFFFD"))
}

func codeOf(err error) codes.Code {
	var classed *dot.Error
	if !errors.As(err, &classed) {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return codes.DeadlineExceeded
		case errors.Is(err, context.Canceled):
			return codes.Canceled
		}
		return codes.Internal
	}
	switch classed.Code {
	case dot.CodeInvalid:
		return codes.InvalidArgument
	case dot.CodeNotFound:
		return codes.NotFound
	case dot.CodeExists:
		return codes.AlreadyExists
	case dot.CodePermission:
		return codes.PermissionDenied
	case dot.CodeUnauthenticated:
		return codes.Unauthenticated
	case dot.CodePrecondition:
		return codes.FailedPrecondition
	case dot.CodeAborted:
		return codes.Aborted
	case dot.CodeUnavailable:
		return codes.Unavailable
	case dot.CodeExhausted:
		return codes.ResourceExhausted
	case dot.CodeOutOfRange:
		return codes.OutOfRange
	case dot.CodeDeadline:
		return codes.DeadlineExceeded
	}
	return codes.Internal
}
