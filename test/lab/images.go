package lab

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/test/lab/image"
)

// Tags of the images that the lab packs.
const (
	PauseImage    = "registry.k8s.io/pause:3.10.1"
	ToolboxImage  = "dotmesh.io/toolbox:dev"  // busybox and its commands, for test pods
	EtcdImage     = "dotmesh.io/etcd:dev"     // /usr/local/bin/etcd
	SidecarsImage = "dotmesh.io/sidecars:dev" // /csi-provisioner, /csi-attacher, /csi-resizer, /csi-snapshotter
	DotmeshImage  = "dotmesh.io/dotmesh:dev"  // Debian with ZFS's userland, /usr/local/bin/dotmesh and dm
)

func (e Env) imageDir() string { return filepath.Join(e.Cache, "images") }

// BaseImages packs the images that every cluster needs: pause and the toolbox.
func (e Env) BaseImages(_ context.Context) ([]string, error) {
	busybox := findTool("busybox")
	applets, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("busybox --list: %w: %w", err, errDeps)
	}
	links := map[string]string{}
	for _, name := range strings.Fields(string(applets)) {
		if name != "busybox" {
			links["/bin/"+name] = "busybox"
		}
	}
	layer := image.Layer{
		Files: map[string]string{"/bin/busybox": busybox},
		Links: links,
		Text: map[string]string{
			"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
			"/etc/group":  "root:x:0:\nuser:x:1000:\nnobody:x:65534:\n",
		},
		Dirs: map[string]os.FileMode{"/tmp": 0o1777, "/root": 0o700, "/mnt": 0o755},
	}
	pause, err := e.pack("pause", layer, image.Image{Tag: PauseImage, Entrypoint: []string{"/bin/busybox", "sleep", "2147483647"}})
	if err != nil {
		return nil, err
	}
	toolbox, err := e.pack("toolbox", layer, image.Image{Tag: ToolboxImage, Cmd: []string{"sh"}})
	return []string{pause, toolbox}, err
}

// SidecarsArchive packs the upstream CSI sidecars, which Build has made.
func (e Env) SidecarsArchive() (string, error) {
	files := map[string]string{}
	for _, n := range []string{"csi-provisioner", "csi-attacher", "csi-resizer", "csi-snapshotter"} {
		files["/"+n] = filepath.Join(e.binDir(), n)
	}
	return e.pack("sidecars", image.Layer{Files: files, Dirs: map[string]os.FileMode{"/tmp": 0o1777}}, image.Image{Tag: SidecarsImage, User: "65532"})
}

// EtcdArchive packs etcd, which Build has made.
func (e Env) EtcdArchive() (string, error) {
	files := map[string]string{"/usr/local/bin/etcd": filepath.Join(e.binDir(), "etcd")}
	return e.pack("etcd", image.Layer{Files: files, Dirs: map[string]os.FileMode{"/tmp": 0o1777}}, image.Image{Tag: EtcdImage, Entrypoint: []string{"/usr/local/bin/etcd"}})
}

// pack writes <name>-<key>.tar, with layer on top of the image's own, unless
// there is one of the same content. Older ones of the same name are removed.
func (e Env) pack(name string, layer image.Layer, img image.Image) (string, error) {
	if err := os.MkdirAll(e.imageDir(), 0o755); err != nil {
		return "", err
	}
	lock, err := lockFile(filepath.Join(e.imageDir(), "."+name+".lock"), unix.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	top := filepath.Join(e.imageDir(), "."+name+".layer")
	defer os.Remove(top)
	if err := layer.Write(top); err != nil {
		return "", fmt.Errorf("pack %s: %w", img.Tag, err)
	}
	h := sha256.New()
	fmt.Fprintln(h, img, "v1")
	if err := hashFile(h, top); err != nil {
		return "", err
	}
	path := filepath.Join(e.imageDir(), fmt.Sprintf("%s-%.12x.tar", name, h.Sum(nil)))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	img.Layers = append(img.Layers, top)
	if err := img.Write(path); err != nil {
		return "", fmt.Errorf("pack %s: %w", img.Tag, err)
	}
	old, _ := filepath.Glob(filepath.Join(e.imageDir(), name+"-*.tar"))
	for _, f := range old {
		if fi, err := os.Stat(f); err == nil && f != path && olderThanAnHour(fi) {
			os.Remove(f)
		}
	}
	return path, nil
}

func hashFile(h io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(h, f)
	return err
}
