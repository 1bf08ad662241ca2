package server

import (
	"context"
	"time"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// exportTimeout bounds what a start does for others before it ends.
const exportTimeout = 2 * time.Minute

// exportGivenAway is for a start that ends because the disk was given to another node, whose
// server waits for it: a pool that this one, or one before it, has imported is exported.
// While something mounts it, or another server of this machine is at work on it, it
// stays; each further start tries again.
func (s *Server) exportGivenAway(ctx context.Context, st *store.Store) {
	bounded, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	if err := s.exportOwn(bounded, st); err != nil {
		klog.FromContext(ctx).Error(err, "a pool whose disk was given to another node may still be imported")
	}
}

// exportOwn exports the pool of this server's disk, whoever imported it here.
func (s *Server) exportOwn(ctx context.Context, st *store.Store) error {
	rec, _, err := found(st.GetClaim(ctx, s.assignment.Claim))
	if err != nil {
		return err
	}
	if s.own == nil {
		client, _, err := s.prepareHost(ctx)
		if err != nil {
			return err
		}
		own, err := s.describePool(ctx, client, rec.Value)
		if err != nil {
			return err
		}
		s.own = &own
	}
	if err := pool.Export(ctx, *s.own); err != nil {
		return err
	}
	if !rec.Value.Pool.IsZero() {
		s.tidyRunDir(ctx, rec.Value.Pool)
	}
	return nil
}

// putBack exports a pool that this process has imported and that is another cluster's.
// Nothing is noted on it: this server's assignment has not used it.
func (s *Server) putBack(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	own := *s.own
	own.Assignment = pool.Assignment{}
	if err := pool.Export(bounded, own); err != nil {
		klog.FromContext(ctx).Error(err, "a pool that is not this cluster's stays imported", "pool", own.Name.String())
		return
	}
	s.imported = false
}
