package pools

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"connectrpc.com/connect"
	corev1 "k8s.io/api/core/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// API reaches the servers with the operator's certificate, from a Secret.
type API struct {
	secrets kube.Reader
	secret  kube.ObjectKey
	// name is what the servers' certificates are for.
	name string

	mu sync.Mutex
	// clients are by address, all made from the Secret of this version.
	version string
	clients map[string]*used
}

// used is a client and when it last was.
type used struct {
	*client.Client
	at time.Time
}

// unused is after how long a client is closed: its pod is gone.
const unused = 10 * time.Minute

// NewAPI reads the Secret, with the files tls.crt, tls.key and ca.crt, for every
// call; from a cache, preferably.
func NewAPI(secrets kube.Reader, secret kube.ObjectKey, serverName string) *API {
	return &API{secrets: secrets, secret: secret, name: serverName, clients: map[string]*used{}}
}

// Status asks GetStatus.
func (a *API) Status(ctx context.Context, address string) (Status, error) {
	c, err := a.client(ctx, address)
	if err != nil {
		return Status{}, err
	}
	answer, err := c.Server.GetStatus(ctx, connect.NewRequest(&v1.GetStatusRequest{}))
	if err != nil {
		return Status{}, err
	}
	return statusOf(answer.Msg), nil
}

func statusOf(m *v1.GetStatusResponse) Status {
	s := Status{Report: plan.Report{
		Node: m.Node, Claim: m.Claim, Pool: m.PoolId, Imported: m.PoolName != "", Health: m.Health, Released: m.Released, Generation: m.Generation,
		InUse: m.InUse, Users: m.Users, WantedPools: m.WantedPools, Version: m.Version,
	}, DiskBytes: m.DiskBytes}
	if s.Health == plan.HealthOnline && !m.Writes {
		s.Health = "HUNG" // the state word says ONLINE also of a pool that writes nothing
	}
	for _, c := range m.Conditions {
		s.Conditions = append(s.Conditions, Condition{Type: c.Type, OK: c.Ok, Reason: c.Reason, Message: c.Message})
	}
	return s
}

// Release asks Release.
func (a *API) Release(ctx context.Context, address string, generation uint64) (Released, error) {
	c, err := a.client(ctx, address)
	if err != nil {
		return Released{}, err
	}
	answer, err := c.Server.Release(ctx, connect.NewRequest(&v1.ReleaseRequest{Generation: generation}))
	if err != nil {
		return Released{}, err
	}
	return Released{answer.Msg.Released, answer.Msg.Reason, answer.Msg.Holders}, nil
}

// client gives one for the address. When the Secret changes all are made anew.
func (a *API) client(ctx context.Context, address string) (*client.Client, error) {
	var secret corev1.Secret
	if err := a.secrets.Get(ctx, a.secret, &secret); err != nil {
		return nil, fmt.Errorf("read the certificate for calls to servers: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for old, c := range a.clients {
		if secret.ResourceVersion != a.version || now.Sub(c.at) > unused {
			c.Close()
			delete(a.clients, old)
		}
	}
	a.version = secret.ResourceVersion
	if c := a.clients[address]; c != nil {
		c.at = now
		return c.Client, nil
	}
	own, err := pki.ClientConfig(secret.Data)
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", a.secret, err)
	}
	c, err := client.New(client.Config{
		Address: address, ServerName: a.name, Trust: client.Trust{CAs: own.RootCAs}, Timeout: releaseTimeout,
		Certificate: func() (*tls.Certificate, error) { return &own.Certificates[0], nil },
	})
	if err == nil {
		a.clients[address] = &used{c, now}
	}
	return c, err
}
