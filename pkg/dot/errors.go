package dot

import (
	"errors"
	"fmt"
)

// Code classes an error by what its receiver should do. The names follow gRPC's
// codes, because CSI and Connect both speak them.
type Code int

// The codes that our errors use.
const (
	CodeInternal        Code = iota // a fault of ours; retrying may help
	CodeInvalid                     // the request can never succeed as it is
	CodeNotFound                    // the thing named does not exist
	CodeExists                      // it exists, and differs from what was asked
	CodePermission                  // the caller may not
	CodeUnauthenticated             // the caller did not say, or prove, who it is
	CodePrecondition                // not while things are as they are; someone must act first
	CodeAborted                     // another call is at work on it; retry
	CodeUnavailable                 // a part is away; retry
	CodeExhausted                   // no room
	CodeOutOfRange                  // a size outside what is possible
	CodeDeadline                    // it took too long; it may still go on
)

// Error is an error that someone must decide on, or that a user reads.
type Error struct {
	Code Code
	// Message is a sentence for the user: what, and what to do about it.
	Message string
	// Cause is what was met underneath, if anything; for errors.Is and As.
	Cause error
}

// Error gives the message, which already tells the cause.
func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// CodeOf gives the code of the first *Error in err's chain, CodeInternal when
// there is none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// Errorf makes an error of a code, with the message that fmt.Errorf would give;
// what a %w names becomes its cause.
func Errorf(code Code, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: wrapped.Error(), Cause: errors.Unwrap(wrapped)}
}

// Invalid makes a CodeInvalid error.
func Invalid(format string, args ...any) *Error { return Errorf(CodeInvalid, format, args...) }

// NotFound makes a CodeNotFound error.
func NotFound(format string, args ...any) *Error { return Errorf(CodeNotFound, format, args...) }

// Precondition makes a CodePrecondition error.
func Precondition(format string, args ...any) *Error {
	return Errorf(CodePrecondition, format, args...)
}

// Unavailable makes a CodeUnavailable error.
func Unavailable(format string, args ...any) *Error { return Errorf(CodeUnavailable, format, args...) }
