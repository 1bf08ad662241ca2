package pki

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dotmesh-io/dotmesh-csi/pkg/atomicfile"
)

// WriteDir writes each Secret as a directory of files below dir, which must be
// new or empty, so that no CA is ever overwritten. It appears whole or not at
// all. Keys can be read by their owner only.
func (s Secrets) WriteDir(dir string) error {
	fail := func(err error) error { return fmt.Errorf("write certificates to %s: %w", dir, err) }
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fail(err)
	}
	draft, err := os.MkdirTemp(parent, ".certs-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(draft)
	for name, files := range s {
		if err := os.Mkdir(filepath.Join(draft, name), 0o700); err != nil {
			return fail(err)
		}
		for file, content := range files {
			if err := writeFile(filepath.Join(draft, name, file), content); err != nil {
				return fail(err)
			}
		}
	}
	// rename(2) replaces an empty directory and no other; os.Rename would not.
	if err := syscall.Rename(draft, filepath.Clean(dir)); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is not empty: name a new directory, or remove what is there", dir)
		}
		return fail(err)
	}
	return nil
}

// writeFile puts a whole file in place of what is there.
func writeFile(path string, content []byte) error {
	mode := os.FileMode(0o644)
	if strings.HasSuffix(path, ".key") {
		mode = 0o600
	}
	return atomicfile.Write(path, content, mode)
}
