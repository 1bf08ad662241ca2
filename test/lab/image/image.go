// Package image packs files into container image archives, as `docker save`
// writes them and `ctr images import` reads them, without a daemon or a registry.
// The same files always give the same bytes.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Image is an archive to be written.
type Image struct {
	Tag        string // name and tag, with its registry: docker.io is not added
	Entrypoint []string
	Cmd        []string
	Env        []string // default: PATH
	User       string
	Layers     []string // uncompressed tar files, the lowest first
}

// Write makes the archive at file, in one step.
func (i Image) Write(file string) (err error) {
	out, err := os.CreateTemp(filepath.Dir(file), ".image-*")
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, out.Chmod(0o644), out.Close())
		if err == nil {
			err = os.Rename(out.Name(), file)
		}
		if err != nil {
			os.Remove(out.Name())
		}
	}()
	w := tar.NewWriter(out)
	var diffIDs, names []string
	for n, layer := range i.Layers {
		digest, err := digestOf(layer)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%d-%.12s.tar", n, digest)
		if err := copyFile(w, name, layer); err != nil {
			return err
		}
		diffIDs, names = append(diffIDs, "sha256:"+digest), append(names, name)
	}
	config, err := json.Marshal(i.config(diffIDs))
	if err != nil {
		return err
	}
	configName := fmt.Sprintf("%x.json", sha256.Sum256(config))
	manifest, err := json.Marshal([]map[string]any{{"Config": configName, "RepoTags": []string{i.Tag}, "Layers": names}})
	if err != nil {
		return err
	}
	return errors.Join(add(w, configName, config), add(w, "manifest.json", manifest), w.Close())
}

// config is the OCI image configuration (image-spec, config.md).
func (i Image) config(diffIDs []string) map[string]any {
	env := i.Env
	if env == nil {
		env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	}
	run := map[string]any{"Env": env}
	if i.Entrypoint != nil {
		run["Entrypoint"] = i.Entrypoint
	}
	if i.Cmd != nil {
		run["Cmd"] = i.Cmd
	}
	if i.User != "" {
		run["User"] = i.User
	}
	return map[string]any{
		"architecture": "amd64", "os": "linux", "config": run,
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	}
}

func digestOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

func copyFile(w *tar.Writer, name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: fi.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

func add(w *tar.Writer, name string, data []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

// Layer is the content of one layer, by absolute path in the image. Parent
// directories come by themselves.
type Layer struct {
	Files map[string]string      // the host's file to copy, executable
	Text  map[string]string      // a file's content
	Links map[string]string      // a symbolic link's target
	Dirs  map[string]os.FileMode // permissions, sticky bit as 0o1000
}

// Write makes the layer's tar file.
func (l Layer) Write(file string) error {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	headers, err := l.headers()
	if err != nil {
		return err
	}
	for _, h := range headers {
		name := "/" + strings.TrimSuffix(h.Name, "/")
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		data := []byte(l.Text[name])
		if from, ok := l.Files[name]; ok {
			if data, err = os.ReadFile(from); err != nil {
				return err
			}
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(file, buf.Bytes(), 0o644)
}

// headers lists every entry, parents first, in a fixed order.
func (l Layer) headers() ([]*tar.Header, error) {
	all := map[string]*tar.Header{}
	put := func(name string, h tar.Header) {
		for dir := path.Dir(name); dir != "/" && dir != "."; dir = path.Dir(dir) {
			if _, ok := all[dir]; !ok {
				all[dir] = &tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o755}
			}
		}
		h.Name = strings.TrimPrefix(name, "/")
		if h.Typeflag == tar.TypeDir {
			h.Name += "/"
		}
		all[name] = &h
	}
	for name, mode := range l.Dirs {
		put(name, tar.Header{Typeflag: tar.TypeDir, Mode: int64(mode)})
	}
	for name, from := range l.Files {
		fi, err := os.Stat(from)
		if err != nil {
			return nil, err
		}
		put(name, tar.Header{Typeflag: tar.TypeReg, Mode: 0o755, Size: fi.Size()})
	}
	for name, text := range l.Text {
		put(name, tar.Header{Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))})
	}
	for name, target := range l.Links {
		put(name, tar.Header{Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: target})
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	var sorted []*tar.Header
	for _, name := range names {
		sorted = append(sorted, all[name])
	}
	return sorted, nil
}
