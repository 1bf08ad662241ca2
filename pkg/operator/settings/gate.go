package settings

import (
	"context"
	"fmt"
	"math"

	"golang.org/x/sync/semaphore"
)

// gate is a read-write lock for which nobody waits longer than their context lasts: a
// round of the pools may hold it for minutes.
type gate struct{ places *semaphore.Weighted }

// everyPlace is more than there will ever be readers.
const everyPlace = math.MaxInt32

func newGate() gate { return gate{semaphore.NewWeighted(everyPlace)} }

// read waits for whoever writes, or waits to; the caller calls leave when it is done.
func (g gate) read(ctx context.Context) (leave func(), err error) { return g.enter(ctx, 1) }

// write waits for everybody; the caller calls leave when it is done.
func (g gate) write(ctx context.Context) (leave func(), err error) { return g.enter(ctx, everyPlace) }

func (g gate) enter(ctx context.Context, places int64) (leave func(), err error) {
	if err := g.places.Acquire(ctx, places); err != nil {
		return nil, fmt.Errorf("wait for those who use the configuration: %w", err)
	}
	return func() { g.places.Release(places) }, nil
}
