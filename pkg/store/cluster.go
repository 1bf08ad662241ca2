package store

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// GetCluster reads the registry's identity; CodeNotFound for one that was never
// used.
func (s *Store) GetCluster(ctx context.Context) (Record[Cluster], error) {
	return get(ctx, s, clusterCodec, ClusterKey(), "the registry's identity")
}

// EnsureCluster gives the registry's identity, and makes one, of incarnation 1,
// for a registry that was never used.
func (s *Store) EnsureCluster(ctx context.Context) (Record[Cluster], error) {
	found, err := s.GetCluster(ctx)
	if dot.CodeOf(err) != dot.CodeNotFound || err == nil {
		return found, err
	}
	return s.createCluster(ctx, Cluster{ID: uuid.NewString(), Incarnation: 1})
}

// createCluster gives a registry that was never used an identity. When somebody
// was first, theirs is given; ErrConflict where that is being rebuilt.
func (s *Store) createCluster(ctx context.Context, c Cluster) (Record[Cluster], error) {
	failed := s.Txn().Absent(ClusterKey()).Absent(RecoveringKey()).PutCluster(c).Commit(ctx)
	if failed != nil && !errors.Is(failed, ErrConflict) {
		return Record[Cluster]{}, failed
	}
	now, err := s.GetCluster(ctx)
	if dot.CodeOf(err) == dot.CodeNotFound && err != nil && failed != nil {
		return now, failed
	}
	return now, err
}

// GetRecovery tells of a rebuilding that has not ended; CodeNotFound for none.
func (s *Store) GetRecovery(ctx context.Context) (Record[Recovery], error) {
	return get(ctx, s, recoveryCodec, RecoveringKey(), "the mark of a recovery")
}
