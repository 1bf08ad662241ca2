// Package atomicfile replaces small files whole: a reader, and whoever comes after
// a crash or a power cut, finds what was there before or what was written, and
// never a part of it.
package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// Write puts content in the place of what path holds, with exactly that mode.
// Several writers may be at it at once; one of them comes last. A crash can leave
// a file beside it whose name begins with ".new-".
func Write(path string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it was renamed
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync() // before the name: a file system may keep them in the other order
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir puts a directory's names on stable storage (fsync(2)), where its file
// system can be asked for that.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	if closed := d.Close(); err == nil {
		err = closed
	}
	return err
}
