package lab

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed assets/initrd.sh
var initrdScript []byte

// kernel is the newest installed Debian cloud kernel that has a zfs module.
func kernel() (string, error) {
	found, _ := filepath.Glob("/lib/modules/*-cloud-amd64/updates/dkms/zfs.ko*")
	var versions []string
	for _, f := range found {
		v := strings.Split(f, "/")[3]
		if _, err := os.Stat("/boot/vmlinuz-" + v); err == nil && !slices.Contains(versions, v) {
			versions = append(versions, v)
		}
	}
	if len(versions) == 0 {
		return "", fmt.Errorf("no Debian cloud kernel with a zfs module in /boot and /lib/modules: %w", errDeps)
	}
	slices.SortFunc(versions, compareVersions)
	return versions[len(versions)-1], nil
}

// compareVersions orders like sort -V: runs of digits by value.
func compareVersions(a, b string) int {
	key := func(v string) string {
		var out, digits strings.Builder
		for _, r := range v + "." {
			if r >= '0' && r <= '9' {
				digits.WriteRune(r)
				continue
			}
			if digits.Len() > 0 {
				fmt.Fprintf(&out, "%010s", digits.String())
				digits.Reset()
			}
			out.WriteRune(r)
		}
		return out.String()
	}
	return strings.Compare(key(a), key(b))
}

// initrd makes, once per kernel and script, the archive that mounts the host's
// root file system and hands over to a machine's own init script.
func (e Env) initrd(ctx context.Context, kernel string) (string, error) {
	sum := sha256.Sum256(initrdScript)
	path := filepath.Join(e.Cache, fmt.Sprintf("initrd-%s-%x.gz", kernel, sum[:4]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	var buf bytes.Buffer
	zip := gzip.NewWriter(&buf)
	w := cpio{w: zip}
	w.dir("bin")
	w.dir("m")
	w.fileFrom("bin/busybox", findTool("busybox"))
	modules, err := moduleFiles(ctx, kernel, "virtio_pci", "virtiofs", "overlay", "virtio_net", "virtio_blk", "virtio_rng")
	if err != nil {
		return "", err
	}
	var order strings.Builder
	for _, m := range modules {
		name := "m/" + filepath.Base(m)
		w.fileFrom(name, m)
		fmt.Fprintln(&order, "/"+name)
	}
	w.file("mods", []byte(order.String()))
	w.file("init", initrdScript)
	w.end()
	if err := errors.Join(w.err, zip.Close(), os.MkdirAll(e.Cache, 0o755)); err != nil {
		return "", fmt.Errorf("make initrd: %w", err)
	}
	return path, writeAtomically(path, buf.Bytes())
}

// moduleFiles lists the modules' files with what they depend on, in load order.
func moduleFiles(ctx context.Context, kernel string, names ...string) ([]string, error) {
	var files []string
	for _, n := range names {
		out, err := output(ctx, "modprobe", "-S", kernel, "--show-depends", n)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(out) {
			f := strings.Fields(line)
			if len(f) > 1 && f[0] == "insmod" && !slices.Contains(files, f[1]) {
				files = append(files, f[1])
			}
		}
	}
	return files, nil
}

func writeAtomically(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// cpio writes the "newc" format that the kernel unpacks (its
// Documentation/driver-api/early-userspace/buffer-format.rst).
type cpio struct {
	w   io.Writer
	ino int
	err error
}

func (c *cpio) entry(name string, mode int, data []byte) {
	c.ino++
	pad := func(n int) []byte { return make([]byte, (4-n%4)%4) }
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	for _, b := range [][]byte{[]byte(head), pad(len(head)), data, pad(len(data))} {
		if c.err == nil {
			_, c.err = c.w.Write(b)
		}
	}
}

func (c *cpio) dir(name string)               { c.entry(name, 0o40755, nil) }
func (c *cpio) file(name string, data []byte) { c.entry(name, 0o100755, data) }
func (c *cpio) end()                          { c.entry("TRAILER!!!", 0, nil) }

func (c *cpio) fileFrom(name, path string) {
	b, err := os.ReadFile(path)
	if err != nil && c.err == nil {
		c.err = err
	}
	c.file(name, b)
}
