package image

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// writeLayer makes a layer of any headers; a regular file's content is its Linkname.
func writeLayer(t *testing.T, headers ...tar.Header) string {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range headers {
		var text string
		if h.Typeflag == tar.TypeReg {
			text, h.Linkname = h.Linkname, ""
			h.Size = int64(len(text))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func readImage(t *testing.T, i Image, keep ...string) (Content, map[string][]byte) {
	t.Helper()
	i.Tag = "example.org/x:1"
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := i.Write(path); err != nil {
		t.Fatal(err)
	}
	c, kept, err := Read(path, keep...)
	if err != nil {
		t.Fatal(err)
	}
	return c, kept
}

func TestReadPutsLayersOnTopOfEachOther(t *testing.T) {
	lower := writeLayer(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeDir, Name: "./d/", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeReg, Name: "./d/gone", Mode: 0o644, Linkname: "x"},
		tar.Header{Typeflag: tar.TypeReg, Name: "./d/kept", Mode: 0o644, Linkname: "y"},
		tar.Header{Typeflag: tar.TypeDir, Name: "./opaque/", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeReg, Name: "./opaque/old", Mode: 0o644, Linkname: "x"},
		tar.Header{Typeflag: tar.TypeDir, Name: "./tree/", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeReg, Name: "./tree/leaf", Mode: 0o644, Linkname: "x"},
	)
	upper := writeLayer(t,
		tar.Header{Typeflag: tar.TypeReg, Name: "d/.wh.gone"},
		tar.Header{Typeflag: tar.TypeReg, Name: "d/new", Mode: 0o4755, Uid: 1, Gid: 2, Linkname: "program"},
		tar.Header{Typeflag: tar.TypeLink, Name: "d/same", Linkname: "d/new"},
		tar.Header{Typeflag: tar.TypeReg, Name: "opaque/.wh..wh..opq"},
		tar.Header{Typeflag: tar.TypeReg, Name: "opaque/young", Mode: 0o600, Linkname: "z"},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "tree", Mode: 0o777, Linkname: "d"},
	)
	c, kept := readImage(t, Image{Layers: []string{lower, upper}}, "/d/new", "/d/absent")
	var got []string
	for p, f := range c.Files {
		got = append(got, p+" "+f.describe(true))
	}
	slices.Sort(got)
	want := []string{
		"/ directory 0755 0:0",
		"/d directory 0755 0:0",
		"/d/kept file 0644 0:0 1 bytes a1fce4363854",
		"/d/new file 4755 1:2 7 bytes 1310ca2c8932",
		"/d/same file 4755 1:2 7 bytes 1310ca2c8932",
		"/opaque directory 0755 0:0",
		"/opaque/young file 0600 0:0 1 bytes 594e519ae499",
		"/tree link 0777 0:0 -> d",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if len(kept) != 1 || string(kept["/d/new"]) != "program" {
		t.Errorf("kept: got %q, want the content of /d/new", kept)
	}
}

func TestDiff(t *testing.T) {
	file := func(name, content string, mode int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Linkname: content}
	}
	a, _ := readImage(t, Image{
		Entrypoint: []string{"dotmesh"},
		Layers: []string{writeLayer(t, file("mode", "m", 0o644), file("only-a", "", 0o644), file("same", "s", 0o600), file("text", "1", 0o644),
			tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "here"})},
	})
	b, _ := readImage(t, Image{
		Entrypoint: []string{"sh"}, User: "1000",
		Layers: []string{writeLayer(t, file("mode", "m", 0o755), file("only-b", "", 0o644), file("same", "s", 0o600), file("text", "2", 0o644),
			tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "there"})},
	})
	if same := Diff(a, a); len(same) != 0 {
		t.Errorf("an image differs from itself: %v", same)
	}
	var got []string
	for _, d := range Diff(a, b) {
		got = append(got, d.String())
	}
	want := []string{
		`config.Entrypoint: ["dotmesh"] | ["sh"]`,
		`config.User: "" | "1000"`,
		"/link: link 0777 0:0 -> here | link 0777 0:0 -> there",
		"/mode: file 0644 0:0 1 bytes 62c66a7a5dd7 | file 0755 0:0 1 bytes 62c66a7a5dd7",
		"/only-a: file 0644 0:0 0 bytes e3b0c44298fc | nothing",
		"/only-b: nothing | file 0644 0:0 0 bytes e3b0c44298fc",
		"/text: file 0644 0:0 1 bytes 6b86b273ff34 | file 0644 0:0 1 bytes d4735e3a265e",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestReadRefusesWhatIsNoImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(path, []byte("no tar"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Read(path); err == nil {
		t.Error("read what is no archive")
	}
	if err := (Layer{Text: map[string]string{"/a": "b"}}).Write(path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Read(path); err == nil {
		t.Error("read an archive without a manifest")
	}
}
