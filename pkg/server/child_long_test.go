//go:build zfs && long

package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/server"
)

// A server that is to be killed is a process of its own: this test binary, run
// with this variable set. It answers lines on its standard input, one each:
//
//	arm <point>#<n>   it will die when it passes the point for the nth time
//	points            it tells the points it has passed since the last line
//	jobs              it tells how many jobs of the background are not done
const childVariable = "DOTMESH_TEST_SERVER"

// childConfig is what the variable holds, as JSON.
type childConfig struct {
	Pool                                         server.PoolConfig
	Endpoint, Listen, Cert, Key, Secrets, RunDir string
	Recover                                      bool
	// At is where to die while starting, "" for nowhere.
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

// dying notes points and kills the process at one.
type dying struct {
	mu     sync.Mutex
	at     string
	passed []string
	seen   map[crash.Point]int
}

func (d *dying) pass(_ context.Context, p crash.Point) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[p]++
	here := fmt.Sprintf("%s#%d", p, d.seen[p])
	d.passed = append(d.passed, here)
	if here == d.at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // with the lock: nothing passes a point any more
	}
}

func (d *dying) obey(lines io.Reader, s *server.Server) {
	for scan := bufio.NewScanner(lines); scan.Scan(); {
		verb, rest, _ := strings.Cut(scan.Text(), " ")
		if verb == "jobs" {
			fmt.Println("jobs", s.BackgroundJobs())
			continue
		}
		d.mu.Lock()
		answer := "armed"
		if verb == "points" {
			answer = strings.TrimSpace("points " + strings.Join(d.passed, " "))
		}
		d.at, d.passed, d.seen = rest, nil, map[crash.Point]int{}
		d.mu.Unlock()
		fmt.Println(answer)
	}
}

func runChild(text string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	d := &dying{at: c.At, seen: map[crash.Point]int{}}
	s, err := server.New(server.Config{
		NodeName: node, Pool: c.Pool, Etcd: server.EtcdConfig{Endpoints: []string{c.Endpoint}},
		Listen: c.Listen, TLSCert: c.Cert, TLSKey: c.Key, SecretDir: c.Secrets, RunDir: c.RunDir, Recover: c.Recover,
		Crash: d.pass,
	})
	if err != nil {
		return err
	}
	go d.obey(os.Stdin, s)
	return s.Run(context.Background())
}

// child is a server in a process of its own.
type child struct {
	*running
	process *exec.Cmd
	orders  io.Writer
	answers chan string
	died    chan struct{}
}

// spawn runs a server in a process of its own, without waiting for it.
func (m *machine) spawn(rebuild bool, at string) *child {
	m.t.Helper()
	cfg := m.config(nil)
	cfg.Recover = rebuild
	return m.spawnWith(cfg, at)
}

func (m *machine) spawnWith(cfg server.Config, at string) *child {
	m.t.Helper()
	text, err := json.Marshal(childConfig{
		Pool: cfg.Pool, Endpoint: "unix://" + filepath.Join(m.etcdDir, "etcd.sock"), Listen: cfg.Listen,
		Cert: cfg.TLSCert, Key: cfg.TLSKey, Secrets: cfg.SecretDir, RunDir: cfg.RunDir, Recover: cfg.Recover, At: at,
	})
	if err != nil {
		m.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	c := &child{process: exec.Command(self), answers: make(chan string, 1), died: make(chan struct{})}
	c.process.Env = append(os.Environ(), childVariable+"="+string(text))
	c.process.Stderr = os.Stderr
	orders, err1 := c.process.StdinPipe()
	out, err2 := c.process.StdoutPipe()
	if err := errors.Join(err1, err2, c.process.Start()); err != nil {
		m.t.Fatal(err)
	}
	c.orders, c.running = orders, m.connect(cfg)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.answers <- lines.Text()
		}
		c.exit <- fmt.Errorf("the process ended: %w", errors.Join(c.process.Wait(), errEnded))
		close(c.died)
	}()
	m.jobs = c.jobs
	m.top.Cleanup(c.kill)
	return c
}

var errEnded = errors.New("ended")

// tell gives the child an order and returns its answer.
func (c *child) tell(t *testing.T, order string) string {
	t.Helper()
	if _, err := fmt.Fprintln(c.orders, order); err != nil {
		t.Fatal(err)
	}
	select {
	case answer := <-c.answers:
		return answer
	case <-c.died:
		t.Fatal("the child died too early")
	case <-time.After(time.Minute):
		t.Fatal("the child does not answer")
	}
	return ""
}

// points gives what was passed since the last order.
func (c *child) points(t *testing.T) []string {
	t.Helper()
	return strings.Fields(c.tell(t, "points"))[1:]
}

// jobs is how many are not done; 0 when the child is dead.
func (c *child) jobs() int {
	if _, err := fmt.Fprintln(c.orders, "jobs"); err != nil {
		return 0
	}
	var jobs int
	select {
	case answer := <-c.answers:
		_, _ = fmt.Sscanf(answer, "jobs %d", &jobs)
	case <-c.died:
	}
	return jobs
}

// killedItself waits for a child that was armed.
func (c *child) killedItself(wait time.Duration) bool {
	select {
	case <-c.died:
		return true
	case <-time.After(wait):
		return false
	}
}

func (c *child) kill() {
	_ = c.process.Process.Kill() // it may be dead already
	<-c.died
	c.Close()
}
