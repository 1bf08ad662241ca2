package members

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

const defaultJoinEvery = 5 * time.Second

// Join is a member's start in a cluster that exists. A voter that lost its data has
// forgotten what it had promised the others: were it to go on under its id, it could vote
// twice, or lack what a majority believes that it keeps.
type Join struct {
	// DataDir is etcd's --data-dir.
	DataDir string
	// PeerURL is what the others reach the member by.
	PeerURL string
	// Endpoints of the cluster, and what to show them.
	Endpoints []string
	TLS       func() (*tls.Config, error)
	// Every is how often etcd is asked; 0 means 5 s.
	Every time.Duration
}

// Wait returns when etcd may be started: at once on a directory with data; else when the
// cluster knows the member as one that was never started. The log says what is waited for.
// A directory that cannot be read is an error at once: who waits for long is taken for
// one without data, and removed.
func (j Join) Wait(ctx context.Context) error {
	logger, every := klog.FromContext(ctx), j.Every
	if every == 0 {
		every = defaultJoinEvery
	}
	for said := ""; ; {
		if has, err := j.hasData(); has || err != nil {
			return err
		}
		err := j.mayBegin(ctx)
		if err == nil {
			return nil
		}
		if why := err.Error(); why != said {
			logger.Info("etcd is not started", "reason", why)
			said = why
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(every):
		}
	}
}

// Look returns when it is known whether there is data, whatever there is.
func (j Join) Look(context.Context) error {
	_, err := j.hasData()
	return err
}

// hasData decides as etcd does whether it begins anew.
func (j Join) hasData() (bool, error) {
	logs, err := os.ReadDir(filepath.Join(j.DataDir, "member", "wal"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("whether there is data of etcd cannot be told: %w", err)
	}
	return slices.ContainsFunc(logs, func(e fs.DirEntry) bool { return filepath.Ext(e.Name()) == ".wal" }), nil
}

// mayBegin is nil if the member, which has no data, may be started now.
func (j Join) mayBegin(ctx context.Context) error {
	cfg, err := j.TLS()
	if err != nil {
		return err
	}
	cluster, err := Open(Config{Endpoints: j.Endpoints, TLS: cfg})
	if err != nil {
		return err
	}
	defer cluster.Close()
	all, err := cluster.List(ctx)
	if err != nil {
		return fmt.Errorf("%s holds no data, and whether a member without data may start is not known: %w", j.DataDir, err)
	}
	i := slices.IndexFunc(all, func(m Member) bool { return m.PeerURL == j.PeerURL })
	switch {
	case i < 0:
		return dot.Precondition("%s holds no data, and etcd has no member %s yet: it is to be added first", j.DataDir, j.PeerURL)
	case all[i].Name != "": // also of a learner: what the leader has sent it, it does not send again
		return dot.Precondition("%s holds no data, and member %s (%016x) of etcd had some: it is to be removed and added anew, and never started without its data", j.DataDir, all[i].Name, uint64(all[i].ID))
	}
	return nil
}
