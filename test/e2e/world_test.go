//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
	"github.com/dotmesh-io/dotmesh-csi/test/lab/image"
)

const (
	system   = "dotmesh" // Kubernetes namespace of our pods
	podImage = "dotmesh.io/e2e:dev"
	poolRoot = "pool/dotmesh"

	serverSelector = "app.kubernetes.io/component=server"
)

// world is a cluster with dotmesh installed on it, and a user of dm beside it.
type world struct {
	site
	env     lab.Env
	cluster *lab.Cluster
	repo    string
	// work holds programs, certificates and dm's configuration.
	work   string
	logs   string
	keep   bool
	apiKey string
	// upgraded is when the pods of an earlier version were gone; zero for none.
	upgraded time.Time
	dmLock   sync.Mutex
}

// newWorld gives a world that must be closed also when there is an error.
func newWorld(ctx context.Context, s site) (*world, error) {
	repo, err := lab.Repository()
	if err != nil {
		return nil, err
	}
	w := &world{site: s, repo: repo, logs: os.Getenv("E2E_LOGS"), keep: os.Getenv("E2E_CLUSTER") != ""}
	if w.logs == "" {
		w.logs = filepath.Join(repo, "bin", "e2e")
	}
	if w.work, err = os.MkdirTemp("/var/tmp", "dotmesh-e2e-"); err != nil {
		return nil, err
	}
	return w, w.start(ctx)
}

func (w *world) start(ctx context.Context) error {
	begin := time.Now()
	if err := w.build(ctx); err != nil {
		return err
	}
	var err error
	if w.env, err = lab.HostEnv(os.Stderr); err != nil {
		return err
	}
	images, err := w.images(ctx)
	if err != nil {
		return err
	}
	fresh, err := w.boot(ctx, images)
	if err != nil {
		return err
	}
	w.progress(begin, "the cluster is up")
	install := w.install
	if !fresh {
		install = w.again
	}
	if err := install(w, ctx); err != nil {
		return err
	}
	w.progress(begin, "dotmesh is installed")
	return nil
}

func (w *world) progress(begin time.Time, what string) {
	fmt.Fprintf(os.Stderr, "e2e: %s (%v)\n", what, time.Since(begin).Round(time.Second))
}

// build makes the programs that the tests run on the host and in pods.
func (w *world) build(ctx context.Context) error {
	programs := []string{"./cmd/dotmesh", "./cmd/dm", "./test/e2e/cmd/writer", "./test/e2e/cmd/registry"}
	argv := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", w.work + "/"}, programs...)
	cmd := exec.CommandContext(ctx, "go", argv...)
	cmd.Dir, cmd.Env = w.repo, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

func (w *world) images(ctx context.Context) ([]string, error) {
	sidecars, err1 := w.env.SidecarsArchive()
	etcd, err2 := w.env.EtcdArchive()
	pod, err3 := w.podArchive()
	ours, err4 := w.env.DotmeshArchive(ctx, lab.Build{})
	all := []string{sidecars, etcd, pod, ours}
	if err := errors.Join(err1, err2, err3, err4); err != nil || w.other == nil {
		return all, err
	}
	build, err := w.other(ctx, w.env)
	if err != nil {
		return nil, err
	}
	other, err := w.env.DotmeshArchive(ctx, build)
	return append(all, other), err
}

// podArchive packs the image of the tests' pods: busybox and the writer.
func (w *world) podArchive() (string, error) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	applets, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return "", fmt.Errorf("busybox --list: %w", err)
	}
	layer := image.Layer{
		Files: map[string]string{"/bin/busybox": busybox, "/bin/writer": filepath.Join(w.work, "writer")},
		Links: map[string]string{},
		Dirs:  map[string]os.FileMode{"/tmp": 0o1777},
	}
	for _, name := range strings.Fields(string(applets)) {
		if name != "busybox" {
			layer.Links["/bin/"+name] = "busybox"
		}
	}
	tar, archive := filepath.Join(w.work, "pod.layer"), filepath.Join(w.work, "pod.tar")
	return archive, errors.Join(layer.Write(tar), image.Image{Tag: podImage, Layers: []string{tar}}.Write(archive))
}

// boot starts the cluster, or finds the one that E2E_CLUSTER names; fresh says
// which.
func (w *world) boot(ctx context.Context, images []string) (fresh bool, err error) {
	name := os.Getenv("E2E_CLUSTER")
	if w.keep {
		if w.cluster, err = lab.Open(w.env, name); err == nil {
			for _, archive := range images {
				if err := w.cluster.LoadImage(ctx, archive); err != nil {
					return false, err
				}
			}
			return false, nil
		}
	} else {
		id := make([]byte, 3)
		if _, err := rand.Read(id); err != nil {
			return false, err
		}
		name = "e2e-" + hex.EncodeToString(id)
	}
	w.cluster, err = lab.Start(ctx, w.env, lab.Config{
		Name: name, Nodes: w.nodes, Images: images, CloudDisk: w.cloudDisks, Detach: w.keep, VolatileDisks: os.Getenv("E2E_VOLATILE") != "",
	})
	return true, err
}

func (w *world) installStatic(ctx context.Context) error {
	return w.installStaticOf(ctx, w.repo, lab.DotmeshImage)
}

// installStaticOf goes by the commands of the README, with the manifests of a tree.
func (w *world) installStaticOf(ctx context.Context, tree, image string) error {
	node := w.cluster.Node(1)
	certs := filepath.Join(w.work, "certs")
	if err := w.run(ctx, nil, "dotmesh", "certs", "--host", node.Address(), "--dir", certs); err != nil {
		return err
	}
	// The second call renews what the first made: whoever trusts its CA trusts
	// these too.
	var secrets bytes.Buffer
	if err := w.run(ctx, &secrets, "dotmesh", "certs", "--host", node.Address(), "--ca", filepath.Join(certs, "dotmesh-ca")); err != nil {
		return err
	}
	password := make([]byte, 24)
	if _, err := rand.Read(password); err != nil {
		return err
	}
	w.apiKey = hex.EncodeToString(password)
	objects, err := w.cluster.Kubectl(ctx, "kustomize", filepath.Join(tree, "deploy/overlays/lab"))
	if err != nil {
		return err
	}
	manifests := strings.NewReader(strings.ReplaceAll(string(objects), lab.DotmeshImage, image))
	for _, step := range []func() error{
		func() error { return w.kubectl(ctx, "create", "namespace", system) },
		func() error { return w.kubectl(ctx, "label", "node", node.Name(), "dotmesh.io/server=true") },
		func() error { return w.cluster.Apply(ctx, secrets.Bytes()) },
		func() error { return w.cluster.Apply(ctx, adminSecret(w.apiKey)) },
		func() error {
			_, err := w.cluster.KubectlInput(ctx, manifests, "apply", "-f", "-")
			return err
		},
		func() error { return w.cluster.Apply(ctx, []byte(immediateClass)) },
		func() error { return w.ready(ctx) },
		func() error { return w.addRemote(ctx, filepath.Join(certs, "dotmesh-ca-cert", "ca.crt")) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// reinstallStatic takes the manifests and images of now to a cluster of E2E_CLUSTER.
func (w *world) reinstallStatic(ctx context.Context) error {
	ca := filepath.Join(w.work, "ca.crt")
	text, err := w.secret(ctx, "dotmesh-ca-cert", "ca.crt")
	if err != nil {
		return err
	}
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		return err
	}
	for _, file := range []string{"ca.crt", "tls.crt", "tls.key"} {
		text, err := w.secret(ctx, "dotmesh-etcd-client", file)
		if err != nil {
			return err
		}
		dir := filepath.Join(w.work, "certs", "dotmesh-etcd-client")
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, file), text, 0o600)); err != nil {
			return err
		}
	}
	key, err := w.secret(ctx, "dotmesh", "dotmesh-api-key.txt")
	if err != nil {
		return err
	}
	w.apiKey = string(key)
	return errors.Join(
		w.kubectl(ctx, "apply", "-k", filepath.Join(w.repo, "deploy/overlays/lab")),
		w.kubectl(ctx, "-n", system, "rollout", "restart", "deploy/dotmesh-server", "deploy/dotmesh-controller", "ds/dotmesh-node"),
		w.ready(ctx),
		w.addRemote(ctx, ca),
	)
}

func (w *world) secret(ctx context.Context, name, file string) ([]byte, error) {
	out, err := w.cluster.Kubectl(ctx, "-n", system, "get", "secret", name, "-o", "go-template={{index .data \""+file+"\"}}")
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(string(out))
}

// ready waits for all of our pods.
func (w *world) ready(ctx context.Context) error {
	for _, part := range w.parts {
		if err := w.kubectl(ctx, "-n", system, "rollout", "status", part, "--timeout=10m"); err != nil {
			return err
		}
	}
	return nil
}

// addRemote introduces dm to the cluster; the port answers as soon as kube-proxy
// knows of it, and for an address of a node that is new when servers have read the
// certificate that has it.
func (w *world) addRemote(ctx context.Context, ca string) error {
	for {
		code, _, stderr := w.dm(ctx, "remote", "add", "lab", w.address(), "--ca", ca)
		if code == 0 {
			return nil
		}
		if code != noAnswer && !strings.Contains(stderr, "certificate is valid for") {
			return fmt.Errorf("dm remote add: exit code %d: %s", code, stderr)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("dm remote add: %w: %s", ctx.Err(), stderr)
		case <-time.After(2 * time.Second):
		}
	}
}

// address is the API's, from outside of the cluster.
func (w *world) address() string { return w.cluster.Nodes()[0].Address() + ":32607" }

// dm runs our dm in the cluster's network and gives its exit code.
func (w *world) dm(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	return w.dmAs(ctx, "config", w.apiKey, args...)
}

// dmAs is dm with another file of remotes and another key.
func (w *world) dmAs(ctx context.Context, config, key string, args ...string) (code int, stdout, stderr string) {
	w.dmLock.Lock()
	defer w.dmLock.Unlock()
	cmd := w.cluster.Command(ctx, append([]string{filepath.Join(w.work, "dm"), "-c", filepath.Join(w.work, config)}, args...)...)
	cmd.Env = append(os.Environ(), "DOTMESH_API_KEY="+key)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return -1, out.String(), err.Error()
	}
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

// run runs one of our programs on the host.
func (w *world) run(ctx context.Context, out *bytes.Buffer, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(w.work, program), args...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	if out != nil {
		cmd.Stdout = out
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, errOut.String())
	}
	return nil
}

func (w *world) kubectl(ctx context.Context, args ...string) error {
	_, err := w.cluster.Kubectl(ctx, args...)
	return err
}

// close takes the cluster down. Its error tells of disks that were detached in use, too.
func (w *world) close() error {
	defer os.RemoveAll(w.work)
	if w.cluster == nil || w.keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return w.cluster.Down(ctx)
}
