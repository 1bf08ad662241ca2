package pool

import (
	"context"
	"errors"
	"os"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// Assignment is one of the times that a disk which can move between nodes was given to
// one. The registry decides which is the last; the marker says it again, for when the
// registry was lost.
type Assignment struct {
	// Claim is the disk's.
	Claim dot.ClaimID `json:"claim,omitzero"`
	// Generation counts the disk's assignments, from 1 on.
	Generation uint64 `json:"generation,omitempty"`
}

var (
	// ErrGivenAway: a later assignment has had the pool.
	ErrGivenAway = errors.New("it was given to another node")
	// ErrReleased: the pool was exported for good in this assignment.
	ErrReleased = errors.New("it was released")
)

// vet refuses a pool that a later assignment has had, or that was released in this one.
func (a Assignment) vet(mark marker, imported bool) error {
	switch {
	case a.Claim.IsZero() || a.Claim != mark.Claim:
		return nil
	case mark.Generation > a.Generation:
		return dot.Precondition("this server is of generation %d of the claim %s, and pool %s has been used in generation %d: %w; nothing was changed", a.Generation, a.Claim, mark.Pool, mark.Generation, ErrGivenAway)
	case mark.Generation == a.Generation && mark.Released && !imported:
		return dot.Precondition("this server is of generation %d of the claim %s, and pool %s was exported in it: %w", a.Generation, a.Claim, mark.Pool, ErrReleased)
	}
	return nil
}

// mayTakeOver: once in each assignment. After that the pool says that this machine
// had it, unless something else did that nobody told of.
func (c Config) mayTakeOver(mark marker) bool { return c.TakeOver && mark.Assignment != c.Assignment }

// markReleased notes that the pool is never imported again in this assignment.
func (c Config) markReleased(ctx context.Context, file *os.File) error {
	if c.Assignment.Claim.IsZero() {
		return nil
	}
	mark, ok, err := readMarker(file)
	if err != nil {
		return err
	}
	if !ok || mark.Pool != c.Name.String() {
		return dot.Precondition("%s does not hold pool %s: nothing was changed", c.path(), c.Name)
	}
	if err := c.Assignment.vet(mark, true); err != nil {
		return err
	}
	after := mark
	after.Assignment, after.Released = c.Assignment, true
	if after == mark {
		return nil
	}
	c.Hook.Pass(ctx, BeforeMark)
	if err := after.write(file); err != nil {
		return err
	}
	c.Hook.Pass(ctx, AfterMark)
	return nil
}
