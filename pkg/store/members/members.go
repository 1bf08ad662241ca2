// Package members is etcd as a cluster of processes: who its members are, how they
// are, adding, promoting and removing one, and snapshots of what they hold. It
// knows nothing of the registry's keys.
//
// A member is added as a learner, which has no vote, and promoted when it has
// caught up: so a member that never comes costs the others nothing.
package members

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

const defaultTimeout = 5 * time.Second

// ID is etcd's name for a member; another one each time a member is added.
type ID uint64

// Member is one of etcd's.
type Member struct {
	ID ID
	// Name is "" for one that was added and never started.
	Name string
	// PeerURL is what the others reach it by.
	PeerURL string
	// Learner has no vote yet.
	Learner bool
	// Healthy members answer, know a leader, and tell of no trouble.
	Healthy bool
	// Trouble is what a member that answers tells of: etcd's alarms, such as NOSPACE.
	Trouble string
}

// Config tells where etcd is.
type Config struct {
	// Endpoints are https://host:port, or unix:///path.
	Endpoints []string
	// TLS is for https.
	TLS *tls.Config
	// Timeout bounds every call; 0 means 5 s.
	Timeout time.Duration
}

// ErrNotCaughtUp is in the chain of Promote's error while the learner lacks too
// much of what the others have.
var ErrNotCaughtUp = errors.New("the member has not caught up yet")

// Cluster is a connection to etcd.
type Cluster struct {
	client  *clientv3.Client
	where   string
	timeout time.Duration
}

// Open makes the connection; whether etcd answers, the first call tells.
func Open(cfg Config) (*Cluster, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, dot.Invalid("no etcd endpoint is given")
	}
	c := &Cluster{where: strings.Join(cfg.Endpoints, ", "), timeout: cfg.Timeout}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: cfg.Endpoints, TLS: cfg.TLS, Logger: zap.NewNop()})
	if err != nil {
		return nil, dot.Errorf(dot.CodeInternal, "connect to etcd at %s: %w", c.where, err)
	}
	c.client = client
	return c, nil
}

// Close ends the connection.
func (c *Cluster) Close() { _ = c.client.Close() }

// List gives all members in the order of their peer URLs, with their health. It
// needs a quorum.
func (c *Cluster) List(ctx context.Context) ([]Member, error) {
	var found []*clientv3.Member
	err := c.call(ctx, "list the members of etcd", func(ctx context.Context) error {
		resp, err := c.client.MemberList(ctx)
		if err == nil {
			for _, m := range resp.Members {
				found = append(found, (*clientv3.Member)(m))
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	all := make([]Member, len(found))
	var asking errgroup.Group
	for i, m := range found {
		all[i] = Member{ID: ID(m.ID), Name: m.Name, PeerURL: first(m.PeerURLs), Learner: m.IsLearner}
		asking.Go(func() error {
			all[i].Healthy, all[i].Trouble = c.health(ctx, m.ClientURLs)
			return nil
		})
	}
	_ = asking.Wait() // they give no errors
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.PeerURL, b.PeerURL) })
	return all, nil
}

// health asks a member itself.
func (c *Cluster) health(ctx context.Context, clientURLs []string) (healthy bool, trouble string) {
	if len(clientURLs) == 0 {
		return false, ""
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	status, err := c.client.Status(ctx, clientURLs[0])
	if err != nil {
		return false, ""
	}
	return status.Leader != 0 && len(status.Errors) == 0, strings.Join(status.Errors, ", ")
}

// AddLearner adds a member that others will reach by peerURL. One that is there
// already stays as it is.
func (c *Cluster) AddLearner(ctx context.Context, peerURL string) error {
	return c.call(ctx, "add a member to etcd", func(ctx context.Context) error {
		_, err := c.client.MemberAddAsLearner(ctx, []string{peerURL})
		if errors.Is(err, rpctypes.ErrPeerURLExist) || errors.Is(err, rpctypes.ErrMemberExist) {
			return nil
		}
		return err
	})
}

// Promote gives a learner its vote: ErrNotCaughtUp while it is too early. A member
// that votes already goes on to.
func (c *Cluster) Promote(ctx context.Context, id ID) error {
	return c.call(ctx, "promote a member of etcd", func(ctx context.Context) error {
		_, err := c.client.MemberPromote(ctx, uint64(id))
		if errors.Is(err, rpctypes.ErrMemberNotLearner) {
			return nil
		}
		return err
	})
}

// Remove takes a member out for ever. One that is not there is no error.
func (c *Cluster) Remove(ctx context.Context, id ID) error {
	return c.call(ctx, "remove a member of etcd", func(ctx context.Context) error {
		_, err := c.client.MemberRemove(ctx, uint64(id))
		if errors.Is(err, rpctypes.ErrMemberNotFound) {
			return nil
		}
		return err
	})
}

// call bounds one call and explains its error.
func (c *Cluster) call(ctx context.Context, doing string, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err := call(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrMemberLearnerNotReady):
		return dot.Errorf(dot.CodeAborted, "%s: %w", doing, ErrNotCaughtUp)
	case errors.Is(err, rpctypes.ErrUnhealthy), errors.Is(err, rpctypes.ErrMemberNotEnoughStarted):
		return dot.Precondition("%s: etcd refuses, because too few of its members are well: %w", doing, err)
	}
	return dot.Unavailable("%s: etcd at %s does not answer as it should: %w", doing, c.where, err)
}

func first(urls []string) string {
	if len(urls) == 0 {
		return ""
	}
	return urls[0]
}
