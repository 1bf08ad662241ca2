//go:build apiserver

package etcd

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// processes run the real etcd with the arguments and variables of our pods, on ports
// of this host instead of addresses of pods.
type processes struct {
	t       *testing.T
	program string
	certs   string
	replace *strings.Replacer
	client  *tls.Config
	clients []string // client URLs by ordinal
	args    []string
}

func newProcesses(t *testing.T, n int) *processes {
	t.Helper()
	env, err := lab.HostEnv(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	p := &processes{t: t, program: env.Program("etcd"), certs: filepath.Join(t.TempDir(), "certs")}
	made, err := pki.Bundle(pki.BundleConfig{Now: time.Now()})
	if err == nil {
		err = made.WriteDir(p.certs)
	}
	if err == nil {
		p.client, err = pki.ClientConfig(made[pki.SecretEtcdClient])
	}
	if err != nil {
		t.Fatal(err)
	}
	pairs := []string{serverTLS, filepath.Join(p.certs, pki.SecretEtcdServer), peerTLS, filepath.Join(p.certs, pki.SecretEtcdPeer)}
	for i := range n {
		peer, client := freeAddress(t), freeAddress(t)
		host := strings.TrimSuffix(peerURL(namespace, i), ":2380")
		pairs = append(pairs, host+":2380", "https://"+peer, host+":2379", "https://"+client)
		p.clients = append(p.clients, "https://"+client)
	}
	p.replace = strings.NewReplacer(pairs...)
	p.args = Spec{Namespace: namespace, Class: LocalClass}.StatefulSet().Spec.Template.Spec.Containers[0].Args
	return p
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a member on a directory with what the ConfigMap says.
func (p *processes) start(ordinal int, dir string, b Bootstrap) *exec.Cmd {
	p.t.Helper()
	advertised := p.replace.Replace(strings.TrimSuffix(peerURL(namespace, ordinal), ":2380") + ":2380")
	var args []string
	for _, arg := range p.args {
		arg = strings.ReplaceAll(arg, "$(POD_NAME)", podName(ordinal))
		switch {
		case strings.HasPrefix(arg, "--listen-client-urls="):
			arg = "--listen-client-urls=" + p.clients[ordinal]
		case strings.HasPrefix(arg, "--listen-peer-urls="):
			arg = "--listen-peer-urls=" + advertised
		case strings.HasPrefix(arg, "--listen-metrics-urls="):
			arg = "--listen-metrics-urls=http://" + freeAddress(p.t)
		case strings.HasPrefix(arg, "--data-dir="):
			arg = "--data-dir=" + filepath.Join(dir, "data")
		}
		args = append(args, p.replace.Replace(arg))
	}
	cmd := exec.CommandContext(p.t.Context(), p.program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	for key, value := range (Spec{}).ConfigMap(b).Data {
		cmd.Env = append(cmd.Env, key+"="+p.replace.Replace(value))
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func (p *processes) open(ordinal int) *members.Cluster {
	p.t.Helper()
	c, err := members.Open(members.Config{Endpoints: p.clients[ordinal : ordinal+1], TLS: p.client})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.Close)
	return c
}

// well waits until that many members are.
func (p *processes) well(c *members.Cluster, n int) []members.Member {
	p.t.Helper()
	var all []members.Member
	p.soon(func(ctx context.Context) bool {
		var err error
		all, err = c.List(ctx)
		return err == nil && State{Members: all}.healthyBut(0) == n
	})
	return all
}

func (p *processes) soon(is func(context.Context) bool) {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); !is(p.t.Context()); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatal("not within a minute")
		}
	}
}

func TestWhatMembersAreTold(t *testing.T) {
	p := newProcesses(t, 2)
	dirs := []string{t.TempDir(), t.TempDir()}
	first := Next(State{Namespace: namespace}).Bootstrap
	one := p.start(0, dirs[0], first)
	c := p.open(0)
	p.well(c, 1)
	if err := c.AddLearner(t.Context(), p.replace.Replace(peerURL(namespace, 1))); err != nil {
		t.Fatal(err)
	}
	// As initialCluster writes it, where members are reached by their pods' names.
	both := Bootstrap{Cluster: first.Cluster + "," + podName(1) + "=" + peerURL(namespace, 1), Existing: true}
	p.start(1, dirs[1], both)
	for _, m := range p.well(c, 2) {
		if m.Learner {
			p.soon(func(ctx context.Context) bool { return c.Promote(ctx, m.ID) == nil })
		}
	}

	t.Run("who restarts does not care", func(t *testing.T) {
		kill(one)
		p.start(0, dirs[0], Bootstrap{Cluster: podName(0) + "=" + peerURL(namespace, 0), Existing: true})
		p.well(c, 2)
	})
	t.Run("who lost its data begins nothing", func(t *testing.T) {
		empty := t.TempDir()
		alone := newProcesses(t, 1)
		ended := alone.start(0, empty, Bootstrap{Cluster: first.Cluster, Existing: true})
		if err := ended.Wait(); err == nil {
			t.Error("it ended well")
		}
		log, err := os.ReadFile(filepath.Join(empty, "log"))
		if err != nil || !strings.Contains(string(log), "cannot fetch cluster info") {
			t.Errorf("it said %s", log)
		}
	})
	t.Run("the other container takes snapshots", func(t *testing.T) {
		// The certificate that etcd shows is what it takes them with.
		own := map[string][]byte{}
		for _, file := range []string{pki.CAFile, pki.CertFile, pki.KeyFile} {
			own[file], _ = os.ReadFile(filepath.Join(p.certs, pki.SecretEtcdServer, file))
		}
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- members.Snapshots{Endpoint: strings.Replace(p.clients[0], "127.0.0.1", "localhost", 1), TLS: func() (*tls.Config, error) { return pki.ClientConfig(own) }, Dir: dir, Every: 100 * time.Millisecond, Keep: 1}.Run(ctx)
		}()
		p.soon(func(context.Context) bool {
			found, _ := filepath.Glob(filepath.Join(dir, "etcd-*.db"))
			return len(found) > 0
		})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
