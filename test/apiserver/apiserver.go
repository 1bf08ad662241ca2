package apiserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// Server is a kube-apiserver, and the etcd below it.
type Server struct {
	// Config and Client are those of an administrator.
	Config *rest.Config
	Client kubernetes.Interface

	env lab.Env
	dir string
}

// startTimeout is generous: two emulated processors may be busy with other tests.
const startTimeout = 2 * time.Minute

// attempts is how often a start is tried: the ports, which were free, may be
// taken meanwhile.
const attempts = 3

// Start runs one until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	env, err := lab.HostEnv(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"etcd", "kube-apiserver"} {
		if _, err := os.Stat(env.Program(program)); err != nil {
			t.Fatalf("this test needs programs that `test/run lab` builds: %v", err)
		}
	}
	for range attempts - 1 {
		if s, err := start(t, env); err == nil {
			return s
		}
	}
	s, err := start(t, env)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func start(t testing.TB, env lab.Env) (*Server, error) {
	s := &Server{env: env, dir: t.TempDir()}
	ports, err := freePorts(t.Context(), 3)
	if err != nil {
		return nil, err
	}
	if s.Config, err = s.credentials(ports[0]); err != nil {
		return nil, err
	}
	if s.Client, err = kubernetes.NewForConfig(s.Config); err != nil {
		return nil, err
	}
	etcd, peer := local("http", ports[1]), local("http", ports[2])
	etcdEnded, err := s.spawn(t, "etcd", "--data-dir="+filepath.Join(s.dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
	if err != nil {
		return nil, err
	}
	ended, err := s.spawn(t, "kube-apiserver", "--etcd-servers="+etcd,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+strconv.Itoa(ports[0]),
		"--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
		"--tls-cert-file="+s.file("tls.crt"), "--tls-private-key-file="+s.file("tls.key"), "--token-auth-file="+s.file("tokens.csv"),
		"--service-account-key-file="+s.file("tls.crt"), "--service-account-signing-key-file="+s.file("tls.key"),
		"--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC", "--allow-privileged",
		"--audit-policy-file="+s.file("audit.yaml"), "--audit-log-path="+s.file("audit.log"), "--audit-log-mode=blocking")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), startTimeout, fmt.Errorf("not ready after %v", startTimeout))
	defer cancel()
	for {
		err := s.ready(ctx)
		if err == nil {
			return s, nil
		}
		select {
		case end := <-etcdEnded:
			return nil, fmt.Errorf("etcd ended: %w: %s", end, s.tail("etcd"))
		case end := <-ended:
			return nil, fmt.Errorf("kube-apiserver ended: %w: %s", end, s.tail("kube-apiserver"))
		case <-ctx.Done():
			return nil, fmt.Errorf("kube-apiserver: %w: %w: %s", context.Cause(ctx), err, s.tail("kube-apiserver"))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Controllers runs the named controllers of kube-controller-manager, as
// "disruption", until the test ends.
func (s *Server) Controllers(t testing.TB, names ...string) {
	t.Helper()
	ports, err := freePorts(t.Context(), 1)
	if err == nil {
		_, err = s.spawn(t, "kube-controller-manager", "--kubeconfig="+s.file("admin.kubeconfig"), "--leader-elect=false",
			"--controllers="+strings.Join(names, ","), "--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(ports[0]), "--cert-dir="+s.dir)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Kubectl runs kubectl as the administrator and returns what it printed.
func (s *Server) Kubectl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.env.Program("kubectl"), append([]string{"--kubeconfig=" + s.file("admin.kubeconfig"), "--cache-dir=" + s.file("kubectl")}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// As is the configuration of another user: of a service account that is
// "system:serviceaccount:<namespace>:<name>".
func (s *Server) As(user string, groups ...string) *rest.Config {
	cfg := rest.CopyConfig(s.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	return cfg
}

func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var status int
	err := s.Client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status).Error()
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("/readyz answers %d", status)
	}
	return err
}

// spawn runs a program whose output goes to <program>.log, and ends it with the
// test.
func (s *Server) spawn(t testing.TB, program string, args ...string) (<-chan error, error) {
	log, err := os.Create(s.file(program + ".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(s.env.Program(program), args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ended, err := lab.Spawn(cmd)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	told, gone := make(chan error, 1), make(chan struct{})
	go func() {
		told <- <-ended
		close(gone)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-gone
	})
	return told, nil
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// tail is the end of a program's log, for error messages.
func (s *Server) tail(program string) string {
	b, _ := os.ReadFile(s.file(program + ".log"))
	return string(b[max(0, len(b)-2000):])
}

func local(scheme string, port int) string {
	return scheme + "://127.0.0.1:" + strconv.Itoa(port)
}

// freePorts gives ports of the loopback interface that nobody listens on now.
func freePorts(ctx context.Context, n int) ([]int, error) {
	var ports []int
	var listen net.ListenConfig
	for range n {
		l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
