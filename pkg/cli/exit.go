package cli

import "github.com/dotmesh-io/dotmesh-csi/pkg/dot"

// The exit codes of dm; the package documentation tells them to people.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitRefused     = 4
	ExitState       = 5
	ExitUnavailable = 6
	ExitInterrupted = 130
)

// ExitCode maps an error to the exit code that its class has.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	switch dot.CodeOf(err) {
	case dot.CodeInvalid, dot.CodeOutOfRange:
		return ExitUsage
	case dot.CodeNotFound:
		return ExitNotFound
	case dot.CodePermission, dot.CodeUnauthenticated:
		return ExitRefused
	case dot.CodeExists, dot.CodePrecondition, dot.CodeAborted, dot.CodeExhausted:
		return ExitState
	case dot.CodeUnavailable, dot.CodeDeadline:
		return ExitUnavailable
	case dot.CodeInternal:
		return ExitFailed
	}
	return ExitFailed
}
