package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

//go:embed assets/deps.sh
var depsScript string

// component is a Go module of ours that pins programs of others.
type component struct {
	dir      string // in the repository
	packages []string
	flags    []string
}

// components are what a cluster is made of, the slowest last.
func components() []component {
	const sidecars = "github.com/kubernetes-csi/external-"
	return []component{
		{dir: "test/lab/modules/etcd", packages: []string{"."}},
		{dir: "test/lab/modules/containerd", packages: []string{
			"github.com/containerd/containerd/v2/cmd/containerd",
			"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
			"github.com/containerd/containerd/v2/cmd/ctr",
		}, flags: []string{"-tags", "no_btrfs,no_devmapper,no_zfs"}},
		{dir: "sidecars/modules/sidecars", packages: []string{
			sidecars + "attacher/v4/cmd/csi-attacher",
			sidecars + "resizer/v2/cmd/csi-resizer",
			sidecars + "snapshotter/v8/cmd/csi-snapshotter",
			sidecars + "snapshotter/v8/cmd/snapshot-controller",
		}},
		{dir: "sidecars/modules/provisioner", packages: []string{sidecars + "provisioner/v6/cmd/csi-provisioner"}},
		{dir: "test/lab/modules/coredns", packages: []string{"."}},
		{dir: "test/lab/modules/kube", packages: []string{
			"k8s.io/kubernetes/cmd/kubectl",
			"k8s.io/kubernetes/cmd/kube-proxy",
			"k8s.io/kubernetes/cmd/kubelet",
			"k8s.io/kubernetes/cmd/kube-scheduler",
			"k8s.io/kubernetes/cmd/kube-controller-manager",
			"k8s.io/kubernetes/cmd/kube-apiserver",
		}},
	}
}

// Repository finds this repository's root: the caller is somewhere inside.
func Repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(b, []byte("module github.com/dotmesh-io/dotmesh-csi\n")) {
			return dir, nil
		}
	}
	return "", errors.New("not inside the dotmesh-csi repository")
}

// Build makes the programs of a cluster that are not in the cache yet. The first
// time takes a quarter of an hour; after that it only looks.
func (e Env) Build(ctx context.Context) error {
	repo, err := Repository()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(e.binDir(), 0o755); err != nil {
		return err
	}
	for _, c := range components() {
		if err := e.buildComponent(ctx, filepath.Join(repo, c.dir), c); err != nil {
			return fmt.Errorf("build %s: %w", c.dir, err)
		}
	}
	return e.snapshotCRDs(ctx, repo)
}

// checkBuilt is Build's promise, tested without building.
func (e Env) checkBuilt() error {
	repo, err := Repository()
	if err != nil {
		return err
	}
	for _, c := range components() {
		key, err := c.key(filepath.Join(repo, c.dir))
		if err != nil {
			return err
		}
		if have, _ := os.ReadFile(e.stamp(c)); string(have) != key {
			return fmt.Errorf("%s is not built, or in another version: run `go run ./test/lab/cmd/lab build`", c.dir)
		}
	}
	return nil
}

func (e Env) stamp(c component) string {
	return filepath.Join(e.binDir(), "."+filepath.Base(c.dir)+".key")
}

// key changes with every pinned version and flag.
func (c component) key(dir string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, c.packages, c.flags, "v1")
	for _, f := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			return "", err
		}
		h.Write(b)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

func (e Env) buildComponent(ctx context.Context, dir string, c component) error {
	key, err := c.key(dir)
	if err != nil {
		return err
	}
	lock, err := lockFile(e.stamp(c)+".lock", unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer lock.Close()
	if have, _ := os.ReadFile(e.stamp(c)); string(have) == key {
		return nil
	}
	ldflags := "-s -w"
	if version := pinnedVersion(dir, "k8s.io/kubernetes"); version != "" {
		ldflags += " -X k8s.io/component-base/version.gitVersion=" + version
	}
	for _, pkg := range c.packages {
		name := filepath.Base(pkg)
		if pkg == "." {
			name = filepath.Base(dir)
		}
		e.printf("building %s", name)
		argv := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags}, c.flags...)
		tmp := filepath.Join(e.binDir(), "."+name+".new")
		cmd := exec.CommandContext(ctx, "go", append(argv, "-o", tmp, pkg)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		if err := runWithUs(cmd); err != nil {
			return fmt.Errorf("%s: %w\n%s", pkg, err, errOut.String())
		}
		if err := os.Rename(tmp, filepath.Join(e.binDir(), name)); err != nil {
			return err
		}
	}
	return os.WriteFile(e.stamp(c), []byte(key), 0o644)
}

// pinnedVersion is the version of a required module, or "".
func pinnedVersion(dir, module string) string {
	b, _ := os.ReadFile(filepath.Join(dir, "go.mod"))
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) >= 2 && f[0] == module && strings.HasPrefix(f[1], "v") {
			return f[1]
		}
	}
	return ""
}

func (e Env) crdDir() string { return filepath.Join(e.Cache, "crds") }

// snapshotCRDs copies the VolumeSnapshot CRDs that belong to the snapshot-controller.
func (e Env) snapshotCRDs(ctx context.Context, repo string) error {
	const module = "github.com/kubernetes-csi/external-snapshotter/client/v8"
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = filepath.Join(repo, "sidecars/modules/sidecars")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("download %s: %w", module, err)
	}
	_, rest, _ := strings.Cut(string(out), `"Dir": "`)
	dir, _, ok := strings.Cut(rest, `"`)
	if !ok {
		return fmt.Errorf("go mod download %s says no directory: %s", module, out)
	}
	files, err := filepath.Glob(filepath.Join(dir, "config/crd/snapshot.storage.k8s.io_*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no CRDs in %s: %w", dir, err)
	}
	if err := os.MkdirAll(e.crdDir(), 0o755); err != nil {
		return err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := writeAtomically(filepath.Join(e.crdDir(), filepath.Base(f)), b); err != nil {
			return err
		}
	}
	return nil
}

// InstallDeps installs the Debian packages that the lab needs and builds the ZFS
// module for the cloud kernel, which takes some minutes the first time. It waits
// until no machine runs: they see the host's files, which it changes.
func (e Env) InstallDeps(ctx context.Context) error {
	if findTool("apt-get") == "" {
		return errors.New("no apt-get: the lab installs its tools on Debian only")
	}
	missing, err := output(ctx, "bash", "-c", depsScript, "deps.sh", "missing")
	if err != nil {
		return err
	}
	names := strings.Join(strings.Fields(missing), " ")
	if names == "" {
		e.printf("all packages are installed")
		return nil
	}
	slots, err := e.acquireSlots(ctx, e.Slots)
	if err != nil {
		return err
	}
	defer closeAll(slots)
	e.printf("installing %s", names)
	cmd := exec.CommandContext(ctx, "bash", "-c", depsScript, "deps.sh", "install")
	cmd.Stdout, cmd.Stderr = e.Progress, e.Progress
	return cmd.Run()
}
