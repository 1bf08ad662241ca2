package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"strings"
)

// Content is what an image gives to a container: its configuration and, by
// absolute path, the files that all its layers make together.
type Content struct {
	Config Config
	Files  map[string]File
}

// Config is the part of the image configuration that decides how a container
// runs (image-spec, config.md).
type Config struct {
	Entrypoint   []string
	Cmd          []string
	Env          []string
	User         string
	WorkingDir   string
	StopSignal   string
	Labels       map[string]string
	ExposedPorts map[string]struct{}
	Volumes      map[string]struct{}
}

// File is one entry of the file system. Times are left out.
type File struct {
	Type     string // "file", "directory", "link", or tar's letter for others
	Mode     int64  // permissions with setuid, setgid and sticky bit
	UID, GID int
	Link     string // a symbolic link's target
	Size     int64
	Digest   string // SHA-256 of a regular file's content
	Attrs    string // extended attributes, sorted
}

// Read reads an archive as `docker save`, `buildah push docker-archive:` and
// [Image.Write] make it. It keeps no content; to have a file's, name it in keep.
func Read(archive string, keep ...string) (Content, map[string][]byte, error) {
	c := Content{Files: map[string]File{}}
	kept := map[string][]byte{}
	var manifest []struct {
		Config string
		Layers []string
	}
	if err := readJSON(archive, "manifest.json", &manifest); err != nil {
		return c, nil, err
	}
	if len(manifest) != 1 {
		return c, nil, fmt.Errorf("%s holds %d images, want one", archive, len(manifest))
	}
	var config struct {
		Config Config `json:"config"`
	}
	if err := readJSON(archive, manifest[0].Config, &config); err != nil {
		return c, nil, err
	}
	c.Config = config.Config
	want := map[string]bool{}
	for _, name := range keep {
		want[name] = true
	}
	for _, layer := range manifest[0].Layers {
		err := withEntry(archive, layer, func(r io.Reader) error { return c.apply(r, want, kept) })
		if err != nil {
			return c, nil, fmt.Errorf("%s: layer %s: %w", archive, layer, err)
		}
	}
	return c, kept, nil
}

func readJSON(archive, name string, to any) error {
	return withEntry(archive, name, func(r io.Reader) error {
		if err := json.NewDecoder(r).Decode(to); err != nil {
			return fmt.Errorf("%s: %s: %w", archive, name, err)
		}
		return nil
	})
}

// withEntry calls do with the content of one file of the archive.
func withEntry(archive, name string, do func(io.Reader) error) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: no %s in it", archive, name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", archive, err)
		}
		if h.Name == name {
			return do(r)
		}
	}
}

// apply puts a layer on top of what there is (image-spec, layer.md).
func (c Content) apply(layer io.Reader, want map[string]bool, kept map[string][]byte) error {
	r := tar.NewReader(layer)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Join("/", h.Name)
		if base, ok := strings.CutPrefix(path.Base(name), ".wh."); ok {
			c.whiteout(path.Dir(name), base)
			continue
		}
		if h.Typeflag == tar.TypeLink {
			c.Files[name] = c.Files[path.Join("/", h.Linkname)]
			continue
		}
		if h.Typeflag != tar.TypeDir {
			c.remove(name, false)
		}
		f := newFile(h)
		if f.Type == "file" {
			sum := sha256.New()
			to := io.Writer(sum)
			var text strings.Builder
			if want[name] {
				to = io.MultiWriter(sum, &text)
			}
			if _, err := io.Copy(to, r); err != nil { // #nosec G110 -- the archive is our own
				return err
			}
			f.Digest = fmt.Sprintf("%x", sum.Sum(nil))
			if want[name] {
				kept[name] = []byte(text.String())
			}
		}
		c.Files[name] = f
	}
}

func newFile(h *tar.Header) File {
	f := File{Mode: h.Mode & 0o7777, UID: h.Uid, GID: h.Gid}
	switch h.Typeflag {
	case tar.TypeReg:
		f.Type, f.Size = "file", h.Size
	case tar.TypeDir:
		f.Type = "directory"
	case tar.TypeSymlink:
		f.Type, f.Link, f.Mode = "link", h.Linkname, 0o777
	default:
		f.Type = fmt.Sprintf("%c %d:%d", h.Typeflag, h.Devmajor, h.Devminor)
	}
	attrs := maps.Clone(h.PAXRecords)
	maps.DeleteFunc(attrs, func(k, _ string) bool { return !strings.HasPrefix(k, "SCHILY.xattr.") })
	if len(attrs) > 0 {
		f.Attrs = fmt.Sprintf("%q", attrs)
	}
	return f
}

// whiteout undoes what lower layers have at name, or for an opaque one in all of dir.
func (c Content) whiteout(dir, name string) {
	if name == ".wh..opq" {
		c.remove(dir, true)
		return
	}
	c.remove(path.Join(dir, name), false)
}

// remove forgets what is at name and below; onlyBelow leaves the directory.
func (c Content) remove(name string, onlyBelow bool) {
	f, ok := c.Files[name]
	if !onlyBelow {
		delete(c.Files, name)
	}
	if ok && f.Type != "directory" {
		return
	}
	if !ok && !onlyBelow {
		return
	}
	maps.DeleteFunc(c.Files, func(p string, _ File) bool { return strings.HasPrefix(p, strings.TrimSuffix(name, "/")+"/") })
}
