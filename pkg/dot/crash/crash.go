// Package crash names the moments at which a process may die between two
// durable effects, so that a test can enumerate them from the code and kill the
// process at each. Production code passes the points; only a test hands in a
// Hook that acts on them.
package crash

import "context"

// Point names one moment, as "<package>.<operation>.<before|during|after>". Packages
// declare each of theirs in one place and list them in a function Points. Several
// operations may pass the same one.
type Point string

// Hook is called whenever a point is passed, on the goroutine that passes it.
// The zero value does nothing.
type Hook func(ctx context.Context, p Point)

// Pass calls the hook, if there is one.
func (h Hook) Pass(ctx context.Context, p Point) {
	if h != nil {
		h(ctx, p)
	}
}
