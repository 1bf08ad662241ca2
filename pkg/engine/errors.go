package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// ErrInUse is in the chain when branches that were made from a commit still
// need it.
var ErrInUse = errors.New("branches made from the commit need it")

// ErrAnothers is in the chain when a root is not this cluster's to use.
var ErrAnothers = errors.New("it is not this cluster's")

// codes are what the failures of ZFS mean to who asked for something.
var codes = []struct {
	kind error
	code dot.Code
}{
	{zfs.ErrNoSpace, dot.CodeExhausted},
	{zfs.ErrQuota, dot.CodeExhausted},
	{zfs.ErrBusy, dot.CodeAborted},
	{zfs.ErrSuspended, dot.CodeUnavailable},
	{zfs.ErrModuleMissing, dot.CodeUnavailable},
	{zfs.ErrVersionMismatch, dot.CodeUnavailable},
	{zfs.ErrNoSuchPool, dot.CodeUnavailable},
	{zfs.ErrStuck, dot.CodeUnavailable},
	{zfs.ErrNotFound, dot.CodeNotFound},
	{zfs.ErrExists, dot.CodeExists},
	{zfs.ErrReadOnly, dot.CodePrecondition},
	{zfs.ErrHasChildren, dot.CodePrecondition},
	{zfs.ErrHasClones, dot.CodePrecondition},
	{zfs.ErrInvalidName, dot.CodeInvalid},
	{zfs.ErrInvalidValue, dot.CodeInvalid},
	{context.DeadlineExceeded, dot.CodeDeadline},
	{context.Canceled, dot.CodeDeadline},
}

// Explain says what was tried and gives a failure of ZFS its code. A *dot.Error
// keeps its own. nil stays nil.
func Explain(err error, format string, args ...any) error { return explain(err, format, args...) }

func explain(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	var known *dot.Error
	if errors.As(err, &known) {
		return dot.Errorf(known.Code, "%s: %w", what, err)
	}
	for _, c := range codes {
		if errors.Is(err, c.kind) {
			return dot.Errorf(c.code, "%s: %w", what, err)
		}
	}
	return dot.Errorf(dot.CodeInternal, "%s: %w", what, err)
}
