package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/klog/v2"
)

// roleEnv makes of this test binary the program.
const roleEnv = "DOTMESH_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestHolderWaitsForASignal runs the process itself.
func TestHolderWaitsForASignal(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "holder")
	cmd.Env = append(os.Environ(), roleEnv+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "holding") {
		t.Errorf("got %q, %v on standard output, want what it logs", line, err)
	}
	begin := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || time.Since(begin) > 5*time.Second {
		t.Errorf("got %v, %v after the signal", err, time.Since(begin))
	}
}

// TestLogged has a role say something and fail.
func TestLogged(t *testing.T) {
	server := startLogServer(t)
	failure := errors.New("no pool")
	err := logged(t.Context(), "server", server.settings, func(ctx context.Context) error {
		klog.FromContext(ctx).Info("hello")
		return failure
	})
	if !errors.Is(err, failure) {
		t.Errorf("got %v, want %v", err, failure)
	}
	server.wantNext(t, "dotmesh-server", "hello")
	server.wantNext(t, "dotmesh-server", "no pool")
}

// logServer is one, and the settings that name it.
type logServer struct {
	net.PacketConn
	settings string
}

func startLogServer(t *testing.T) logServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "logAddress"), []byte("udp://"+conn.LocalAddr().String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return logServer{conn, dir}
}

// wantNext has the next message be of a process and say something.
func (s logServer) wantNext(t *testing.T, app, says string) {
	t.Helper()
	b := make([]byte, 4096)
	_ = s.SetReadDeadline(time.Now().Add(30 * time.Second))
	n, _, err := s.ReadFrom(b)
	if err != nil || !strings.Contains(string(b[:n]), " "+app+" ") || !strings.Contains(string(b[:n]), says) {
		t.Errorf("got %q, %v, want %q of %s", b[:n], err, says, app)
	}
}
