package node

import (
	"context"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
)

// operation is a change that outlives the process, with the crash points before
// and after it.
type operation struct{ before, after crash.Point }

// The operations of this package.
var (
	makeStaging   = operation{"node.make-staging.before", "node.make-staging.after"}
	mountHead     = operation{"node.mount.before", "node.mount.after"}
	claimWriter   = operation{"node.claim-writer.before", "node.claim-writer.after"}
	makeTarget    = operation{"node.make-target.before", "node.make-target.after"}
	bindSubdot    = operation{"node.bind.before", "node.bind.after"}
	makeReadOnly  = operation{"node.make-read-only.before", "node.make-read-only.after"}
	unmountOne    = operation{"node.unmount.before", "node.unmount.after"}
	removeTarget  = operation{"node.remove-target.before", "node.remove-target.after"}
	removeStaging = operation{"node.remove-staging.before", "node.remove-staging.after"}
	releaseWriter = operation{"node.release-writer.before", "node.release-writer.after"}
)

// Points lists the crash points of this package.
func Points() []crash.Point {
	var points []crash.Point
	for _, o := range []operation{
		makeStaging, mountHead, claimWriter, makeTarget, bindSubdot, makeReadOnly,
		unmountOne, removeTarget, removeStaging, releaseWriter,
	} {
		points = append(points, o.before, o.after)
	}
	return points
}

// passing does an operation between its points.
func (s *service) passing(ctx context.Context, o operation, do func() error) error {
	s.crash.Pass(ctx, o.before)
	if err := do(); err != nil {
		return err
	}
	s.crash.Pass(ctx, o.after)
	return nil
}
