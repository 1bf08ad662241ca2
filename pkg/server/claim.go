package server

import (
	"context"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// assigned makes of the record of a disk the one that a server of an assignment needs
// before it touches the pool: no earlier assignment's server has it any more.
func assigned(was store.Claim, mine pool.Assignment, node string) (store.Claim, error) {
	switch {
	case was.Generation > mine.Generation:
		return was, dot.Precondition("this server is of generation %d of the claim %s, and generation %d is on node %q: %w; nothing was changed", mine.Generation, mine.Claim, was.Generation, was.Node, pool.ErrGivenAway)
	case was.Generation == mine.Generation && was.Released:
		return was, dot.Precondition("this server is of generation %d of the claim %s: %w", mine.Generation, mine.Claim, pool.ErrReleased)
	case was.Generation == mine.Generation:
		return was, nil
	}
	return store.Claim{ID: mine.Claim, Generation: mine.Generation, Node: node, Pool: was.Pool, Unknown: was.Unknown}, nil
}

// amendClaim records what became of this server's disk, where it can move between
// nodes, unless it was given away or released: pool.ErrGivenAway, pool.ErrReleased.
// The record may not be there, in a registry that was rebuilt: the disk's marker
// (package pool) keeps earlier assignments away then.
func (s *Server) amendClaim(ctx context.Context, st *store.Store, amend func(*store.Claim)) (store.Claim, error) {
	var now store.Claim
	if s.assignment.Claim.IsZero() {
		return now, nil
	}
	err := again(ctx, func() error {
		key := store.ClaimKey(s.assignment.Claim)
		rec, _, err := found(st.GetClaim(ctx, s.assignment.Claim))
		if err != nil {
			return err
		}
		if now, err = assigned(rec.Value, s.assignment, s.cfg.NodeName); err != nil {
			return err
		}
		amend(&now)
		if now == rec.Value {
			return nil
		}
		return st.Txn().Unchanged(key, rec.Revision).PutClaim(now).Commit(ctx)
	})
	return now, err
}

// enterClaim is before anything of the pool is touched.
func (s *Server) enterClaim(ctx context.Context, st *store.Store) (store.Claim, error) {
	return s.amendClaim(ctx, st, func(*store.Claim) {})
}

// stillAssigned is for a server that has lost its lease, or its connection, and has
// them again: the disk may have been given away meanwhile.
func (s *Server) stillAssigned(ctx context.Context, st *store.Store) error {
	_, err := s.amendClaim(ctx, st, func(c *store.Claim) { c.Imported = true })
	return err
}

// noteImported spends the leave to take the pool over: from here on the pool itself
// says that this machine has it.
func (s *Server) noteImported(ctx context.Context, st *store.Store, of dot.PoolID) error {
	_, err := s.amendClaim(ctx, st, func(c *store.Claim) { c.Imported, c.Pool = true, of })
	return err
}
