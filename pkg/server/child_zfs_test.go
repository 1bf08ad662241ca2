//go:build zfs

package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/server"
)

// A server that is to be killed is a process of its own: this test binary, run
// with this variable set.
const childVariable = "DOTMESH_TEST_SERVER"

const armed = "armed"

// childConfig is what the variable holds, as JSON.
type childConfig struct {
	Root, Endpoint, Listen, Cert, Key, Secrets, RunDir string
	// At is "<point>#<n>": where to die, counted from SIGUSR1 on.
	At string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func runChild(text string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	var mu sync.Mutex
	counting, seen := false, map[crash.Point]int{}
	begin := make(chan os.Signal, 1)
	signal.Notify(begin, syscall.SIGUSR1)
	go func() {
		<-begin
		mu.Lock()
		counting = true
		mu.Unlock()
		fmt.Println(armed)
	}()
	s, err := server.New(server.Config{
		NodeName: node, Pool: server.PoolConfig{Root: c.Root}, Etcd: server.EtcdConfig{Endpoints: []string{c.Endpoint}},
		Listen: c.Listen, TLSCert: c.Cert, TLSKey: c.Key, SecretDir: c.Secrets, RunDir: c.RunDir,
		Crash: func(_ context.Context, p crash.Point) {
			mu.Lock()
			defer mu.Unlock()
			if !counting {
				return
			}
			if seen[p]++; fmt.Sprintf("%s#%d", p, seen[p]) == c.At {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // with the lock: nothing passes a point any more
			}
		},
	})
	if err != nil {
		return err
	}
	return s.Run(context.Background())
}

// child is a server in a process of its own.
type child struct {
	*running
	process *exec.Cmd
	armed   chan struct{}
	died    chan struct{}
}

// startChild runs a server that will die at a point once it is armed.
func (m *machine) startChild(t *testing.T, at string) *child {
	t.Helper()
	cfg := m.config(nil)
	text, err := json.Marshal(childConfig{
		Root: cfg.Pool.Root, Endpoint: "unix://" + filepath.Join(m.etcdDir, "etcd.sock"), Listen: cfg.Listen,
		Cert: cfg.TLSCert, Key: cfg.TLSKey, Secrets: cfg.SecretDir, RunDir: cfg.RunDir, At: at,
	})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{process: exec.Command(self), armed: make(chan struct{}), died: make(chan struct{})}
	c.process.Env = append(os.Environ(), childVariable+"="+string(text))
	c.process.Stderr = os.Stderr
	out, err := c.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if lines.Text() == armed {
				close(c.armed)
			}
		}
		_ = c.process.Wait() // it was killed
		close(c.died)
	}()
	t.Cleanup(c.kill)
	c.running = m.connect(cfg)
	m.awaitReady(c.running)
	return c
}

// arm lets the child count points from now on.
func (c *child) arm(t *testing.T) {
	t.Helper()
	if err := c.process.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.armed:
	case <-time.After(time.Minute):
		t.Fatal("the child does not answer")
	}
}

func (c *child) kill() {
	_ = c.process.Process.Kill() // it may be dead already
	<-c.died
	c.Close()
}
