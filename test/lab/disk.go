package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// diskMB is the size of a machine's disk; it is sparse on the host.
const diskMB = 10240

func (e Env) binDir() string { return filepath.Join(e.Cache, "bin") }

// Program is where [Env.Build] leaves a program.
func (e Env) Program(name string) string { return filepath.Join(e.binDir(), name) }

// emptyDisk is the template for a machine without images: an ext4 file system.
func (e Env) emptyDisk(ctx context.Context) (string, error) {
	return e.template(ctx, fmt.Sprintf("empty-%d", diskMB), func(file string) error {
		return makeFS(ctx, file, "")
	})
}

// makeFS formats file, with the content of the directory from if that is not "".
func makeFS(ctx context.Context, file, from string) error {
	argv := []string{"mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"}
	if from != "" {
		argv = append(argv, "-d", from)
	}
	return run(ctx, append(argv, file, fmt.Sprintf("%dM", diskMB))...)
}

// template returns the cached disk of that key, made by build if there is none.
func (e Env) template(_ context.Context, key string, build func(file string) error) (string, error) {
	dir := filepath.Join(e.Cache, "disks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := lockFile(filepath.Join(dir, ".lock"), unix.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	path := filepath.Join(dir, key+".img")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	tmp := filepath.Join(dir, ".template")
	if err := removeUnfinished(dir); err != nil {
		return "", err
	}
	if err := build(tmp); err != nil {
		os.Remove(tmp)
		return "", fmt.Errorf("make disk template: %w", err)
	}
	return path, os.Rename(tmp, path)
}

// removeUnfinished forgets what a template's interrupted build left. The caller
// has the directory's lock.
func removeUnfinished(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, ".state-*"))
	for _, path := range append(left, filepath.Join(dir, ".template")) {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// removeInterrupted is removeUnfinished, unless a template is being built now.
func (e Env) removeInterrupted() error {
	dir := filepath.Join(e.Cache, "disks")
	if _, err := os.Stat(dir); err != nil {
		return nil
	}
	lock, err := lockFile(filepath.Join(dir, ".lock"), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	} else if err != nil {
		return err
	}
	defer lock.Close()
	return removeUnfinished(dir)
}

func (m *machine) nbdSocket() string { return filepath.Join(m.dir(), "nbd.sock") }

// startVolatileDisk puts a write cache in front of the disk that is emptied to it
// only when the guest flushes (nbdkit-cache-filter(1)), and that is lost with the
// process: the machine's power cut kills it, so what was not flushed is gone.
func (m *machine) startVolatileDisk(ctx context.Context) error {
	if findTool("nbdkit") == "" {
		return fmt.Errorf("a volatile disk needs nbdkit: %w", errDeps)
	}
	_ = os.Remove(m.nbdSocket())
	argv := []string{
		"env", "TMPDIR=" + m.dir(), "nbdkit", "--foreground", "--unix", m.nbdSocket(), "--filter=cache",
		"file", m.disk(), "cache=writeback", "cache-on-read=false",
	}
	if err := m.site.start(daemon{name: m.nbd(), argv: argv}); err != nil {
		return err
	}
	return m.waitSocket(ctx, m.nbd(), m.nbdSocket())
}
