package mounted

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// mount does what kubelet does: files in a new directory, the link renamed, the last
// directory removed.
func mount(t *testing.T, dir string, version int, files map[string]string) {
	t.Helper()
	was, _ := os.Readlink(filepath.Join(dir, data))
	next := fmt.Sprintf("..%d", version)
	must(t, os.Mkdir(filepath.Join(dir, next), 0o700))
	for name, content := range files {
		must(t, os.WriteFile(filepath.Join(dir, next, name), []byte(content), 0o600))
	}
	must(t, os.Symlink(next, filepath.Join(dir, "..data_tmp")))
	must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, data)))
	if was != "" {
		must(t, os.RemoveAll(filepath.Join(dir, was)))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "plain"), []byte(" yes\n"), 0o600))
	if got, err := Read(dir, "plain"); err != nil || got != "yes" {
		t.Errorf("a plain directory: got %q, %v", got, err)
	}
	mount(t, dir, 0, map[string]string{"recover": "true\n"})
	if got, err := Read(dir, "recover"); err != nil || got != "true" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, none := range []string{filepath.Join(dir, "gone"), dir} {
		if got, err := Read(none, "other"); !errors.Is(err, fs.ErrNotExist) || got != "" {
			t.Errorf("no key in %s: got %q, %v", none, got, err)
		}
	}
	must(t, os.Mkdir(filepath.Join(dir, "..0", "directory"), 0o700))
	if _, err := Read(dir, "directory"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what cannot be read: got %v", err)
	}
}

// TestReadWhileItChanges: a key that is always there is always found.
func TestReadWhileItChanges(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, 0, map[string]string{"recover": "true"})
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if got, err := Read(dir, "recover"); errors.Is(err, fs.ErrNotExist) || err == nil && got != "true" {
					t.Errorf("got %q, %v", got, err)
					return
				}
			}
		})
	}
	for i := range 100 {
		mount(t, dir, i+1, map[string]string{"recover": "true"})
	}
	close(done)
	readers.Wait()
}
