package node

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"connectrpc.com/connect"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

const (
	socketName   = "node.sock"
	probeTimeout = time.Second
)

// servers are the dotmesh servers of this machine: one per pool, each with a
// socket in <run directory>/<pool id>/.
type servers struct {
	runDir string

	mu      sync.Mutex
	clients map[string]dotmeshv1connect.NodeServiceClient // by socket; guarded by mu
}

// of gives the client of a pool's server; it connects with the first call.
func (s *servers) of(pool dot.PoolID) dotmeshv1connect.NodeServiceClient {
	return s.at(filepath.Join(s.runDir, pool.String(), socketName))
}

func (s *servers) at(socket string) dotmeshv1connect.NodeServiceClient {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[socket]
	if !ok {
		c = client.NewNode(socket)
		if s.clients == nil {
			s.clients = map[string]dotmeshv1connect.NodeServiceClient{}
		}
		s.clients[socket] = c
	}
	return c
}

// sockets lists those of all pools.
func (s *servers) sockets() ([]string, error) {
	entries, err := os.ReadDir(s.runDir)
	if err != nil {
		return nil, dot.Unavailable("no dotmesh server runs on this node; look at its pod dotmesh-server: %w", err)
	}
	var found []string
	for _, e := range entries {
		if _, err := dot.ParsePoolID(e.Name()); err == nil {
			found = append(found, filepath.Join(s.runDir, e.Name(), socketName))
		}
	}
	return found, nil
}

// ready tells whether a server answers on this machine.
func (s *servers) ready(ctx context.Context) error {
	sockets, err := s.sockets()
	if err != nil {
		return err
	}
	dialer := net.Dialer{Timeout: probeTimeout}
	for _, socket := range sockets {
		conn, err := dialer.DialContext(ctx, "unix", socket)
		if err == nil {
			return conn.Close()
		}
	}
	return dot.Unavailable("no dotmesh server answers on this node; look at its pod dotmesh-server")
}

// resize asks every server of the machine, because NodeExpandVolume is not told
// which pool has the volume.
func (s *servers) resize(ctx context.Context, volume string) (size int64, err error) {
	sockets, err := s.sockets()
	if err != nil {
		return 0, err
	}
	err = dot.Unavailable("no dotmesh server runs on this node; look at its pod dotmesh-server")
	for _, socket := range sockets {
		res, callErr := s.at(socket).ResizeVolume(ctx, connect.NewRequest(&dotmeshv1.ResizeVolumeRequest{Volume: volume}))
		if callErr == nil {
			return res.Msg.GetSizeBytes(), nil
		}
		// The server that has the volume tells more than one that has not.
		if dot.CodeOf(err) == dot.CodeUnavailable || dot.CodeOf(err) == dot.CodeNotFound {
			err = callErr
		}
	}
	return 0, err
}
