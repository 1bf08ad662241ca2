package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// nodeDisk is the template of a node's disk with these images and the lab's own.
func (e Env) nodeDisk(ctx context.Context, images []string) (string, error) {
	base, err := e.BaseImages(ctx)
	if err != nil {
		return "", err
	}
	return e.imageDisk(ctx, slices.Concat(base, images))
}

// imageDisk is the template of a node's disk that holds these image archives,
// unpacked. It is made on the host, at its own speed, once for the same content.
func (e Env) imageDisk(ctx context.Context, archives []string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, diskMB, "v1")
	stamp, _ := os.ReadFile(e.stamp(component{dir: "containerd"}))
	h.Write(stamp)
	for _, a := range archives {
		if err := hashFile(h, a); err != nil {
			return "", fmt.Errorf("image archive: %w", err)
		}
	}
	e.pruneDisks()
	return e.template(ctx, fmt.Sprintf("images-%.12x", h.Sum(nil)), func(file string) error {
		e.printf("unpacking %d images into a disk", len(archives))
		dir, err := os.MkdirTemp(filepath.Dir(file), ".state-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if err := e.unpackImages(ctx, dir, archives); err != nil {
			return err
		}
		return makeFS(ctx, file, filepath.Join(dir, "disk"))
	})
}

// unpackImages runs containerd on the host just to import into
// dir/disk/var/lib/containerd, in a mount namespace that ends with it.
func (e Env) unpackImages(ctx context.Context, dir string, archives []string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	root, socket := filepath.Join(dir, "disk/var/lib/containerd"), filepath.Join(dir, "s.sock")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	config := fmt.Sprintf(`version = 3
root = %q
state = %q
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri", "io.containerd.nri.v1.nri"]
[grpc]
address = %q
[ttrpc]
address = %q
`, root, filepath.Join(dir, "run"), socket, socket+".ttrpc")
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	serve, stop := context.WithCancel(ctx)
	cmd := exec.CommandContext(serve, "unshare", "--mount", filepath.Join(e.binDir(), "containerd"), "--config", file)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	var server sync.WaitGroup
	server.Go(func() { _ = runWithUs(cmd) }) // stopped below, and so it fails
	defer server.Wait()
	defer stop()
	ctr := []string{filepath.Join(e.binDir(), "ctr"), "--address", socket, "--namespace", "k8s.io"}
	for run(ctx, append(ctr, "version")...) != nil {
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			stop()
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("containerd on the host: %w: %s", err, text)
		}
	}
	for _, a := range archives {
		if err := run(ctx, slices.Concat(ctr, []string{"images", "import", a})...); err != nil {
			return err
		}
	}
	return nil
}

// pruneDisks forgets templates that have not been made or used for a while.
func (e Env) pruneDisks() {
	old, _ := filepath.Glob(filepath.Join(e.Cache, "disks", "images-*"))
	slices.SortFunc(old, func(a, b string) int { return modTime(b).Compare(modTime(a)) })
	for i, f := range old {
		if fi, err := os.Stat(f); err == nil && i >= 4 && olderThanAnHour(fi) {
			_ = os.Remove(f)
		}
	}
}

func modTime(path string) time.Time {
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || fi == nil {
		return time.Time{}
	}
	return fi.ModTime()
}

func olderThanAnHour(fi fs.FileInfo) bool { return time.Since(fi.ModTime()) > time.Hour }
