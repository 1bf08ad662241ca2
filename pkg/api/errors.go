package api

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// ToConnect gives an error its status code; nil stays nil. The message is kept
// whole, because it is written for the person at the other end. An error that
// nobody classed becomes an internal one.
func ToConnect(err error) error {
	if err == nil {
		return nil
	}
	var classed *dot.Error
	if errors.As(err, &classed) {
		return connect.NewError(codeToConnect(classed.Code), errors.New(err.Error()))
	}
	var already *connect.Error
	switch {
	case errors.As(err, &already):
		return already
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, errors.New(err.Error()))
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, errors.New(err.Error()))
	}
	return connect.NewError(connect.CodeInternal, errors.New(err.Error()))
}

// FromConnect makes a *dot.Error of what a call of the API returned; nil stays
// nil. A server that cannot be reached is CodeUnavailable.
func FromConnect(err error) error {
	if err == nil {
		return nil
	}
	var status *connect.Error
	if !errors.As(err, &status) {
		var classed *dot.Error
		switch {
		case errors.As(err, &classed):
			return err
		case errors.Is(err, context.DeadlineExceeded):
			return &dot.Error{Code: dot.CodeDeadline, Message: "the dotmesh server did not answer in time", Cause: err}
		}
		return &dot.Error{Code: dot.CodeInternal, Message: err.Error(), Cause: err}
	}
	code := codeFromConnect(status.Code())
	if code == dot.CodeInternal && !connect.IsWireError(status) {
		// No server said so: the connection broke. Whoever takes it for a failure
		// that is final may forget what the server has done meanwhile.
		return &dot.Error{Code: dot.CodeUnavailable, Message: "the connection to the dotmesh server broke: " + status.Message(), Cause: err}
	}
	return &dot.Error{Code: code, Message: status.Message(), Cause: err}
}

func codeToConnect(c dot.Code) connect.Code {
	switch c {
	case dot.CodeInvalid:
		return connect.CodeInvalidArgument
	case dot.CodeNotFound:
		return connect.CodeNotFound
	case dot.CodeExists:
		return connect.CodeAlreadyExists
	case dot.CodePermission:
		return connect.CodePermissionDenied
	case dot.CodeUnauthenticated:
		return connect.CodeUnauthenticated
	case dot.CodePrecondition:
		return connect.CodeFailedPrecondition
	case dot.CodeAborted:
		return connect.CodeAborted
	case dot.CodeUnavailable:
		return connect.CodeUnavailable
	case dot.CodeExhausted:
		return connect.CodeResourceExhausted
	case dot.CodeOutOfRange:
		return connect.CodeOutOfRange
	case dot.CodeDeadline:
		return connect.CodeDeadlineExceeded
	}
	return connect.CodeInternal
}

func codeFromConnect(c connect.Code) dot.Code {
	switch c {
	case connect.CodeInvalidArgument:
		return dot.CodeInvalid
	case connect.CodeNotFound:
		return dot.CodeNotFound
	case connect.CodeAlreadyExists:
		return dot.CodeExists
	case connect.CodePermissionDenied:
		return dot.CodePermission
	case connect.CodeUnauthenticated:
		return dot.CodeUnauthenticated
	case connect.CodeFailedPrecondition, connect.CodeUnimplemented:
		return dot.CodePrecondition
	case connect.CodeAborted, connect.CodeCanceled:
		return dot.CodeAborted
	case connect.CodeUnavailable:
		return dot.CodeUnavailable
	case connect.CodeResourceExhausted:
		return dot.CodeExhausted
	case connect.CodeOutOfRange:
		return dot.CodeOutOfRange
	case connect.CodeDeadlineExceeded:
		return dot.CodeDeadline
	}
	return dot.CodeInternal
}
