package server

import (
	"context"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// socketName is the node service's socket in the pool's run directory.
const socketName = "node.sock"

// listenSocket opens a unix socket that root alone can use: by its directory
// (0700), its mode (0600) and, whatever happened to these, by the peer's uid. It
// takes the place of one that an earlier run left.
func listenSocket(ctx context.Context, dir string) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		return nil, dot.Errorf(dot.CodeInternal, "open the node service's socket in %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fail(err)
	}
	path := filepath.Join(dir, socketName)
	draft := path + ".new"
	if err := os.Remove(draft); err != nil && !os.IsNotExist(err) {
		return fail(err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", draft)
	if err != nil {
		return fail(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	err = os.Chmod(draft, 0o600)
	if err == nil {
		err = os.Rename(draft, path)
	}
	if err != nil {
		_ = l.Close()
		return fail(err)
	}
	return &rootListener{Listener: l, logger: klog.FromContext(ctx)}, nil
}

// rootListener accepts connections of root's processes only.
type rootListener struct {
	net.Listener
	logger klog.Logger
}

// Accept closes others' connections and goes on.
func (l *rootListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err == nil && uid == 0 {
			return c, nil
		}
		l.logger.Info("refused a connection to the node service's socket", "uid", uid, "err", err)
		_ = c.Close()
	}
}

// peerUID asks the kernel who connected (unix(7), SO_PEERCRED).
func peerUID(c net.Conn) (uint32, error) {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return 0, dot.Errorf(dot.CodeInternal, "not a unix socket")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return cred.Uid, nil
}
