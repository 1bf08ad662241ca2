package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/test/lab/image"
)

//go:embed assets/debian.sh
var debianScript string

//go:embed assets/bud.sh
var budScript string

// Build is an image of ours. Its zero value is that of the repository as it is now.
type Build struct {
	Source string // a tree of the repository; default the one that we are in
	Tag    string // default [DotmeshImage]
	// Version is what the programs say that they are. They say none by default: the
	// image would be another one after every commit.
	Version string
}

// DotmeshArchive packs our own image the fast way: a cached Debian root with the
// packages that the Dockerfile installs, and dotmesh and dm as built now.
func (e Env) DotmeshArchive(ctx context.Context, b Build) (string, error) {
	if b.Source == "" {
		repo, err := Repository()
		if err != nil {
			return "", err
		}
		b.Source = repo
	}
	if b.Tag == "" {
		b.Tag = DotmeshImage
	}
	dockerfile, err := os.ReadFile(filepath.Join(b.Source, "Dockerfile"))
	if err != nil {
		return "", err
	}
	packages, entrypoint, err := readDockerfile(string(dockerfile))
	if err != nil {
		return "", err
	}
	suite, err := hostSuite()
	if err != nil {
		return "", err
	}
	root, err := e.debianLayer(ctx, debianRoot{suite: suite, components: "main,contrib", packages: packages})
	if err != nil {
		return "", err
	}
	lock, err := lockFile(filepath.Join(e.imageDir(), ".programs.lock"), unix.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	dir, err := e.workDir("programs")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := b.programs(ctx, dir); err != nil {
		return "", err
	}
	files := map[string]string{}
	for _, n := range []string{"dotmesh", "dm"} {
		files["/usr/local/bin/"+n] = filepath.Join(dir, n)
	}
	return e.pack("dotmesh", image.Layer{Files: files}, image.Image{Tag: b.Tag, Entrypoint: entrypoint, Layers: []string{root}})
}

// programs builds dotmesh and dm into dir.
func (b Build) programs(ctx context.Context, dir string) error {
	link := "-s -w"
	if b.Version != "" {
		link += " -X main.linkedVersion=" + b.Version
	}
	for _, n := range []string{"dotmesh", "dm"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", link, "-o", filepath.Join(dir, n), "./cmd/"+n)
		cmd.Dir, cmd.Env = b.Source, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", n, err, out)
		}
	}
	return nil
}

// readDockerfile finds the two things of the Dockerfile that the packed image must share.
func readDockerfile(text string) (packages, entrypoint []string, err error) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	_, install, ok := strings.Cut(text, "--no-install-recommends")
	install, _, ended := strings.Cut(install, ";")
	if !ok || !ended || len(strings.Fields(install)) == 0 {
		return nil, nil, errors.New("Dockerfile: no `apt-get install --no-install-recommends PACKAGES;`")
	}
	_, list, ok := strings.Cut(text, "\nENTRYPOINT ")
	list, _, _ = strings.Cut(list, "\n")
	if err := json.Unmarshal([]byte(list), &entrypoint); !ok || err != nil {
		return nil, nil, fmt.Errorf("Dockerfile: no ENTRYPOINT as a list: %w", err)
	}
	return strings.Fields(install), entrypoint, nil
}

// hostSuite is the host's Debian: its kernel module decides which ZFS fits.
func hostSuite() (string, error) {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return strings.Trim(name, `"`), nil
		}
	}
	return "", errors.New("/etc/os-release names no VERSION_CODENAME: the lab needs Debian")
}

// debianRoot is a Debian root file system as debootstrap makes it.
type debianRoot struct {
	suite      string
	components string // of the archive, comma-separated
	packages   []string
}

// debianLayer makes the root once, as a tar file.
func (e Env) debianLayer(ctx context.Context, r debianRoot) (string, error) {
	if err := os.MkdirAll(e.imageDir(), 0o755); err != nil {
		return "", err
	}
	lock, err := lockFile(filepath.Join(e.imageDir(), ".debian.lock"), unix.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	list := strings.Join(r.packages, ",")
	sum := sha256.Sum256([]byte(debianScript + r.components + " " + list))
	path := filepath.Join(e.imageDir(), fmt.Sprintf("debian-%s-%x.layer", r.suite, sum[:6]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if findTool("debootstrap") == "" {
		return "", fmt.Errorf("debootstrap is missing: %w", errDeps)
	}
	e.printf("making a root of Debian %s with %d packages more (once, about a minute)", r.suite, len(r.packages))
	work, err := e.workDir("debootstrap")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := contained(ctx, debianScript, work, r.suite, r.components, list); err != nil {
		return "", err
	}
	return path, os.Rename(filepath.Join(work, "layer.tar"), path)
}

// workDir is an empty directory of that name in the cache. What an earlier user
// left there is removed, so the caller must hold a lock.
func (e Env) workDir(name string) (string, error) {
	dir := filepath.Join(e.imageDir(), ".work-"+name)
	return dir, errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755))
}

// contained runs a bash script in mount and process namespaces of its own: what it
// mounts and starts is gone when it ends, however that is, or when we do.
func contained(ctx context.Context, script string, args ...string) error {
	argv := append([]string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script, "bash"}, args...)
	cmd := exec.CommandContext(ctx, "unshare", argv...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := runWithUs(cmd)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		text := out.String()
		return fmt.Errorf("%w\n%s", err, text[max(0, len(text)-4000):])
	}
	return nil
}

// DockerfileArchive builds our own image from the Dockerfile, as people do, on a
// base of that Debian suite. It takes minutes; see DotmeshArchive.
func (e Env) DockerfileArchive(ctx context.Context, suite string) (string, error) {
	repo, err := Repository()
	if err != nil {
		return "", err
	}
	if findTool("buildah") == "" {
		return "", fmt.Errorf("buildah is missing: %w", errDeps)
	}
	root, err := e.debianLayer(ctx, debianRoot{suite: suite, components: "main"})
	if err != nil {
		return "", err
	}
	lock, err := lockFile(filepath.Join(e.imageDir(), ".dockerfile.lock"), unix.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	work, err := e.workDir("dockerfile")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	base := image.Image{Tag: "localhost/base:" + suite, Cmd: []string{"bash"}, Layers: []string{root}}
	if err := base.Write(filepath.Join(work, "base.tar")); err != nil {
		return "", err
	}
	// A context of its own, for programs of the same source as the packed image's.
	if err := os.MkdirAll(filepath.Join(work, "context/bin"), 0o755); err != nil {
		return "", err
	}
	for _, name := range []string{"Dockerfile", ".dockerignore"} {
		b, err := os.ReadFile(filepath.Join(repo, name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(work, "context", name), b, 0o644); err != nil {
			return "", err
		}
	}
	if err := (Build{Source: repo}).programs(ctx, filepath.Join(work, "context/bin")); err != nil {
		return "", err
	}
	e.printf("building the Dockerfile on Debian %s", suite)
	if err := contained(ctx, budScript, work, base.Tag, DotmeshImage); err != nil {
		return "", fmt.Errorf("build the Dockerfile on Debian %s: %w", suite, err)
	}
	path := filepath.Join(e.imageDir(), "dockerfile-"+suite+".tar")
	return path, os.Rename(filepath.Join(work, "image.tar"), path)
}
