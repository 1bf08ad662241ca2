package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func entries(t *testing.T, data []byte) (names []string, content map[string][]byte, headers map[string]*tar.Header) {
	t.Helper()
	content, headers = map[string][]byte{}, map[string]*tar.Header{}
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, content, headers
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		content[h.Name], headers[h.Name] = b, h
	}
}

func TestLayer(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("code"), 0o600); err != nil {
		t.Fatal(err)
	}
	layer := Layer{
		Files: map[string]string{"/usr/bin/program": program},
		Text:  map[string]string{"/etc/passwd": "root"},
		Links: map[string]string{"/bin": "usr/bin"},
		Dirs:  map[string]os.FileMode{"/tmp": 0o1777},
	}
	var first []byte
	for i := range 3 {
		out := filepath.Join(dir, "layer.tar")
		if err := layer.Write(out); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = b
		} else if !bytes.Equal(b, first) {
			t.Fatal("the same layer gave different bytes")
		}
	}
	names, content, headers := entries(t, first)
	want := []string{"bin", "etc/", "etc/passwd", "tmp/", "usr/", "usr/bin/", "usr/bin/program"}
	if len(names) != len(want) {
		t.Fatalf("got %v, want %v", names, want)
	}
	for i := range want {
		if names[i] != want[i] {
			t.Fatalf("got %v, want %v", names, want)
		}
	}
	if got := string(content["usr/bin/program"]); got != "code" {
		t.Errorf("program: got %q", got)
	}
	if got := headers["usr/bin/program"].Mode; got != 0o755 {
		t.Errorf("program's mode: got %o", got)
	}
	if got := headers["tmp/"].Mode; got != 0o1777 {
		t.Errorf("tmp's mode: got %o", got)
	}
	if got := string(content["etc/passwd"]); got != "root" {
		t.Errorf("passwd: got %q", got)
	}
}

func TestImage(t *testing.T) {
	dir := t.TempDir()
	layer := filepath.Join(dir, "layer.tar")
	if err := (Layer{Text: map[string]string{"/a": "b"}}).Write(layer); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "image.tar")
	if err := (Image{Tag: "example.org/x:1", Entrypoint: []string{"/a"}, Layers: []string{layer}}).Write(out); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	_, content, _ := entries(t, b)
	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(content["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 1 || manifest[0].RepoTags[0] != "example.org/x:1" || len(manifest[0].Layers) != 1 {
		t.Fatalf("manifest: %+v", manifest)
	}
	raw, err := os.ReadFile(layer)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content[manifest[0].Layers[0]], raw) {
		t.Error("the layer in the archive is not the layer given")
	}
	var config struct {
		Config struct{ Entrypoint []string }
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(content[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	digest, err := digestOf(layer)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := config.RootFS.DiffIDs[0], "sha256:"+digest; got != want {
		t.Errorf("diff id: got %s, want %s", got, want)
	}
}
