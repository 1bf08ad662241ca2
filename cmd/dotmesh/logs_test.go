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
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "logAddress"), []byte("udp://"+conn.LocalAddr().String()), 0o600); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("no pool")
	err = logged(t.Context(), "server", dir, func(ctx context.Context) error {
		klog.FromContext(ctx).Info("hello")
		return failure
	})
	if !errors.Is(err, failure) {
		t.Errorf("got %v, want %v", err, failure)
	}
	for _, want := range []string{"hello", "no pool"} {
		b := make([]byte, 4096)
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		n, _, err := conn.ReadFrom(b)
		if err != nil || !strings.Contains(string(b[:n]), " dotmesh-server ") || !strings.Contains(string(b[:n]), want) {
			t.Errorf("got %q, %v, want %q", b[:n], err, want)
		}
	}
}
