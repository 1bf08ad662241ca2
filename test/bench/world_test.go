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
	apiKey   = "bench-key-0123456789abcdef0123456789abcdef"

	// How long to wait for a server. It lists the pool once at a start and twice in a
	// recovery, which an emulated machine takes minutes for.
	startLimit, recoveryLimit = 10 * time.Minute, 30 * time.Minute
)

// world is a server and a node service as processes of the real program, and an
// etcd in this one, so that what the server uses can be told from what etcd
// uses.
type world struct {
	t        *testing.T
	dots     int
	poolName string
	dir      string
	binary   string
	etcd     *embedded.Server
	keys     *clientv3.Client
	server   *exec.Cmd
	api      *client.Client
	node     csi.NodeClient
	pool     string   // the pool's id
	ended    *os.File // the processes that have ended
}

// newWorld starts on a pool with a number of dots, recovered into an empty
// registry, or with none on a new pool.
func newWorld(t *testing.T, dots int) *world {
	name := poolNameOf(dots)
	w := &world{t: t, dots: dots, poolName: name, dir: "/var/lib/dotmesh/" + name, binary: os.Getenv("DOTMESH")}
	if w.binary == "" {
		w.binary = "../../bin/dotmesh"
	}
	for _, d := range []string{fixtureDir, w.path("secret"), w.path("tls"), w.path("kubelet/plugins_registry")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(w.remove)
	var err error
	if w.etcd, err = embedded.Start(t.Context(), embedded.Config{Dir: w.path("etcd")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.etcd.Close)
	if w.keys, err = clientv3.New(clientv3.Config{Endpoints: []string{w.etcd.Endpoint()}, DialTimeout: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.keys.Close() })
	w.writeSecrets()
	t.Cleanup(w.releasePool)
	if dots == 0 {
		w.startServer()
	} else {
		w.recover()
	}
	w.check()
	w.startAccounting()
	w.startNode()
	return w
}

// recover fills the registry from the fixture's pool.
func (w *world) recover() {
	if _, err := os.Stat(w.poolFile()); err != nil {
		if err := makePool(w.t.Context(), w.dir, w.dots); err != nil {
			w.t.Fatal(err)
		}
	}
	progress("recovering the registry of %d dots", w.dots)
	progress("ready after %v", w.startWithin(recoveryLimit, "--recover").Round(time.Millisecond))
}

// check counts what the registry has.
func (w *world) check() {
	dots, err := w.api.Dots.ListDots(w.t.Context(), connect.NewRequest(&dotmeshv1.ListDotsRequest{}))
	if err != nil {
		w.t.Fatal(err)
	}
	snapshots, err := w.api.Volumes.ListSnapshots(w.t.Context(), connect.NewRequest(&dotmeshv1.ListSnapshotsRequest{}))
	if err != nil {
		w.t.Fatal(err)
	}
	if d, s := len(dots.Msg.GetDots()), len(snapshots.Msg.GetSnapshots()); d != w.dots || s != w.dots*commits {
		w.t.Fatalf("%d dots with %d commits, want %d with %d", d, s, w.dots, w.dots*commits)
	}
}

func (w *world) poolFile() string { return filepath.Join(fixtureDir, w.poolName+".pool") }

func progress(format string, args ...any) {
	fmt.Printf("%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
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
func (w *world) startServer() time.Duration { return w.startWithin(startLimit) }

func (w *world) startWithin(limit time.Duration, more ...string) time.Duration {
	begin := time.Now()
	w.server = w.process("server", append([]string{"server", "--node-name=" + nodeName,
		"--pool-name=" + w.poolName, "--pool-location=" + fixtureDir, "--pool-size=" + strconv.Itoa(poolBytes),
		"--etcd-endpoints=" + w.etcd.Endpoint(), "--listen=" + address,
		"--tls-cert=" + w.path("tls/tls.crt"), "--tls-key=" + w.path("tls/tls.key"),
		"--secret-dir=" + w.path("secret"), "--run-dir=" + w.path("run")}, more...)...)
	w.until("the server is ready", limit, func(ctx context.Context) error {
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
	if err := w.patiently(limit, try); err != nil {
		log, _ := os.ReadFile(w.path("server.log"))
		w.t.Fatalf("%s: not after %v: %v\n%s", what, limit, err, log[max(0, len(log)-4000):])
	}
}

// patiently tries until there is no error, or gives the last one.
func (w *world) patiently(limit time.Duration, try func(context.Context) error) error {
	const oneTry = 20 * time.Second
	const pause = 100 * time.Millisecond // asking slows down what is waited for
	for begin := time.Now(); ; time.Sleep(pause) {
		ctx, cancel := context.WithTimeout(w.t.Context(), oneTry)
		err := try(ctx)
		cancel()
		if err == nil || time.Since(begin) > limit {
			return err
		}
	}
}

// releasePool leaves the pool as a fixture is: the server does not export what
// may be mounted.
func (w *world) releasePool() {
	if w.server == nil {
		return
	}
	kill(w.server)
	if out, err := exec.Command("zpool", "export", w.poolName).CombinedOutput(); err != nil {
		w.t.Errorf("zpool export: %v: %s", err, out)
	}
	out, _ := exec.Command("losetup", "-n", "-O", "NAME", "-j", w.poolFile()).Output()
	for device := range strings.FieldsSeq(string(out)) {
		if out, err := exec.Command("losetup", "-d", device).CombinedOutput(); err != nil {
			w.t.Errorf("losetup -d %s: %v: %s", device, err, out)
		}
	}
}

func (w *world) remove() {
	_ = os.RemoveAll(w.dir)
	_ = os.Remove(w.poolFile())
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
