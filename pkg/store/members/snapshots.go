package members

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/snapshot"
	"go.uber.org/zap"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

const (
	snapshotTimeout = 5 * time.Minute
	snapshotPrefix  = "etcd-"
	snapshotSuffix  = ".db"
	// snapshotTime sorts as time does.
	snapshotTime = "20060102T150405Z"
)

// Snapshots keeps the latest snapshots of one member in a directory, as
// etcd-<UTC time>.db, which `etcdutl snapshot restore` reads.
type Snapshots struct {
	Endpoint string
	// TLS is asked for each snapshot, so that renewed certificates are used.
	TLS   func() (*tls.Config, error)
	Dir   string
	Every time.Duration
	Keep  int
}

// Run takes snapshots until the context ends. What fails is logged, and tried
// again when the next one is due.
func (s Snapshots) Run(ctx context.Context) error {
	if s.Keep < 1 || s.Every <= 0 {
		return dot.Invalid("snapshots of etcd: at least one is to be kept, and some time must pass between two")
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("make the directory for snapshots of etcd: %w", err)
	}
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if err := s.take(ctx, now); err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "no snapshot of etcd was taken", "dir", s.Dir)
			}
		}
	}
}

// take adds one and removes the oldest beyond Keep. A file that is there is whole.
func (s Snapshots) take(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	cfg := clientv3.Config{Endpoints: []string{s.Endpoint}, DialTimeout: defaultTimeout}
	if s.TLS != nil {
		var err error
		if cfg.TLS, err = s.TLS(); err != nil {
			return err
		}
	}
	path := filepath.Join(s.Dir, snapshotPrefix+now.UTC().Format(snapshotTime)+snapshotSuffix)
	if _, err := snapshot.SaveWithVersion(ctx, zap.NewNop(), cfg, path); err != nil {
		return fmt.Errorf("take a snapshot of etcd at %s: %w", s.Endpoint, err)
	}
	return s.prune(filepath.Base(path))
}

// prune never removes the one just taken, whatever the clock was before.
func (s Snapshots) prune(taken string) error {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return fmt.Errorf("list the snapshots of etcd: %w", err)
	}
	var kept []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), snapshotPrefix) && strings.HasSuffix(e.Name(), snapshotSuffix) {
			kept = append(kept, e.Name())
		}
	}
	slices.SortFunc(kept, func(a, b string) int {
		return cmp.Or(cmp.Compare(older(a, taken), older(b, taken)), cmp.Compare(a, b))
	})
	for len(kept) > s.Keep {
		if err := os.Remove(filepath.Join(s.Dir, kept[0])); err != nil {
			return fmt.Errorf("remove an old snapshot of etcd: %w", err)
		}
		kept = kept[1:]
	}
	return nil
}

// older puts snapshots of a clock that was ahead before the others, and the one just taken
// after them.
func older(name, taken string) int {
	switch {
	case name == taken:
		return 1
	case name > taken:
		return -1
	}
	return 0
}
