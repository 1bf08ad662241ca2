//go:build bench

package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/container-storage-interface/spec/lib/go/csi"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store/embedded"
)

const (
	nodeName = "bench"
	address  = "127.0.0.1:32607"
	poolName = "bench"
	poolSize = "8G"
	apiKey   = "bench-key-0123456789abcdef0123456789abcdef"
)

// world is a server and a node service as processes of the real program, and an
// etcd in this one, so that what the server uses can be told from what etcd
// uses.
type world struct {
	t      *testing.T
	dir    string
	binary string
	etcd   *embedded.Server
	keys   *clientv3.Client
	server *exec.Cmd
	api    *client.Client
	node   csi.NodeClient
	pool   string // the pool's id
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: "/var/lib/dotmesh/bench", binary: os.Getenv("DOTMESH")}
	if w.binary == "" {
		w.binary = "../../bin/dotmesh"
	}
	for _, d := range []string{"pool", "secret", "tls", "kubelet/plugins_registry"} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if w.etcd, err = embedded.Start(t.Context(), embedded.Config{Dir: filepath.Join(w.dir, "etcd")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.etcd.Close)
	if w.keys, err = clientv3.New(clientv3.Config{Endpoints: []string{w.etcd.Endpoint()}, DialTimeout: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.keys.Close() })
	w.writeSecrets()
	w.startServer()
	t.Cleanup(w.removePool)
	w.startNode()
	return w
}

func (w *world) path(elem ...string) string {
	return filepath.Join(append([]string{w.dir}, elem...)...)
}

func (w *world) write(path string, content []byte) {
	if err := os.WriteFile(w.path(path), content, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// writeSecrets makes the server's certificate, the admin's key, and the client.
func (w *world) writeSecrets() {
	now := time.Now()
	ca, err := pki.NewCA("bench", now)
	if err != nil {
		w.t.Fatal(err)
	}
	pair, err := ca.IssueServer(pki.Names{DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, time.Hour*24, now)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("tls/tls.crt", pair.Cert)
	w.write("tls/tls.key", pair.Key)
	w.write("tls/ca.crt", ca.CertPEM())
	w.write("secret/dotmesh-api-key.txt", []byte(apiKey+"\n"))
	w.write("secret/dotmesh-admin-password.txt", []byte(apiKey+"\n"))
	trust, err := client.TrustCAFile(w.path("tls/ca.crt"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.api, err = client.New(client.Config{Address: address, Trust: trust, User: "admin", APIKey: func() (string, error) { return apiKey, nil }, Timeout: 5 * time.Minute})
	if err != nil {
		w.t.Fatal(err)
	}
}

// process starts the program with its output in a file, and ends it with the
// test.
func (w *world) process(name string, args ...string) *exec.Cmd {
	log, err := os.OpenFile(w.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(w.binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// startServer answers when the server is ready, with the time that it took.
func (w *world) startServer() time.Duration {
	begin := time.Now()
	w.server = w.process("server", "server", "--node-name="+nodeName,
		"--pool-name="+poolName, "--pool-location="+w.path("pool"), "--pool-size="+poolSize,
		"--etcd-endpoints="+w.etcd.Endpoint(), "--listen="+address,
		"--tls-cert="+w.path("tls/tls.crt"), "--tls-key="+w.path("tls/tls.key"),
		"--secret-dir="+w.path("secret"), "--run-dir="+w.path("run"))
	w.until("the server is ready", 5*time.Minute, func(ctx context.Context) error {
		res, err := w.api.Server.GetStatus(ctx, connect.NewRequest(&dotmeshv1.GetStatusRequest{}))
		if err != nil {
			return err
		}
		if !res.Msg.GetReady() {
			return fmt.Errorf("not ready: %v", res.Msg.GetConditions())
		}
		w.pool = res.Msg.GetPoolId()
		return nil
	})
	return time.Since(begin)
}

func (w *world) startNode() {
	socket := w.path("kubelet/csi.sock")
	w.process("node", "node", "--node-name="+nodeName, "--endpoint=unix://"+socket,
		"--run-dir="+w.path("run"), "--health-listen=127.0.0.1:9809")
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	w.node = csi.NewNodeClient(conn)
	w.until("the node service answers", time.Minute, func(ctx context.Context) error {
		_, err := w.node.NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
		return err
	})
}

func (w *world) until(what string, limit time.Duration, try func(context.Context) error) {
	w.t.Helper()
	const oneTry = 20 * time.Second
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(w.t.Context(), oneTry)
		err := try(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Since(begin) > limit {
			log, _ := os.ReadFile(w.path("server.log"))
			w.t.Fatalf("%s: not after %v: %v\n%s", what, limit, err, log[max(0, len(log)-4000):])
		}
	}
}

// removePool leaves the machine as it was: the server never exports its pool by
// being killed.
func (w *world) removePool() {
	kill(w.server)
	_ = exec.Command("zpool", "destroy", "-f", poolName).Run()
	out, _ := exec.Command("losetup", "-l", "-n", "-O", "NAME,BACK-FILE").Output()
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 2 && strings.HasPrefix(f[1], w.dir) {
			_ = exec.Command("losetup", "-d", f[0]).Run()
		}
	}
	_ = os.RemoveAll(w.dir)
}

// run is one bare command.
func (w *world) run(argv ...string) []byte {
	cmd := exec.CommandContext(w.t.Context(), argv[0], argv[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.t.Errorf("%v: %v: %s", argv, err, stderr.String())
	}
	return out
}

// usage of the server's process.
type usage struct {
	cpu time.Duration
	rss int64 // bytes
}

func (w *world) usage() usage {
	const ticks = 100 // of a second; USER_HZ is 100 on every Linux
	pid := strconv.Itoa(w.server.Process.Pid)
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		w.t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	pages, _ := strconv.ParseInt(fields[21], 10, 64)
	return usage{cpu: time.Duration(user+system) * time.Second / ticks, rss: pages * int64(os.Getpagesize())}
}

// forks is how many processes the machine has started since it booted.
func (w *world) forks() int64 {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(stat)) {
		if n, ok := strings.CutPrefix(line, "processes "); ok {
			count, _ := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			return count
		}
	}
	w.t.Fatal("/proc/stat counts no processes")
	return 0
}

// revision of the registry: it grows with every write.
func (w *world) revision() int64 {
	res, err := w.keys.Get(w.t.Context(), "x")
	if err != nil {
		w.t.Fatal(err)
	}
	return res.Header.Revision
}
