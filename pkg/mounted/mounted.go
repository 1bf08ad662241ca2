// Package mounted reads the files of a ConfigMap as kubelet mounts it: they lie in a
// directory that the link ..data names, and a change has it name another one, while the
// last is removed.
package mounted

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// data is the link.
	data = "..data"
	// tries bounds how many changes in a row are read after.
	tries = 5
	// maxSize bounds what is read of a file that should hold a line.
	maxSize = 64 << 10
)

// Read gives what a file holds, without the space around it. The error is fs.ErrNotExist
// only where the ConfigMap has no such key; after any other what was read before holds.
func Read(dir, name string) (string, error) {
	for range tries {
		before := version(dir)
		content, err := read(filepath.Join(dir, before, name))
		if !errors.Is(err, fs.ErrNotExist) || version(dir) == before {
			return content, err
		}
	}
	return "", fmt.Errorf("read %s: it changes all the time", filepath.Join(dir, name))
}

// version is the directory that holds the files now; "" where they lie in dir itself.
func version(dir string) string {
	name, err := os.Readlink(filepath.Join(dir, data))
	if err != nil {
		return ""
	}
	return name
}

func read(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxSize))
	return strings.TrimSpace(string(content)), err
}
