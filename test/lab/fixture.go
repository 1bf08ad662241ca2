package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Fixture is what lies on a machine's disk (/var/lib/dotmesh) after a program
// has run on it: what takes long to make and is the same every time.
type Fixture struct {
	Name string
	// Versions are files whose content decides what Make writes: another content
	// makes another fixture.
	Versions []string
	// Make writes the fixture. What it leaves in /var/lib/dotmesh must survive
	// the loss of the machine: pools are exported.
	Make TestRun
}

// Disk gives the fixture's disk, for [VMConfig].Disk. It lies in the cache and is
// made first, in a machine of its own, if there is none of these versions;
// earlier versions are removed.
func (f Fixture) Disk(ctx context.Context, e Env, io Streams) (string, error) {
	if err := checkName(f.Name); err != nil {
		return "", err
	}
	version, err := contentOf(f.Versions)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(e.Cache, "disks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Not the lock of the templates: those are needed meanwhile.
	lock, err := lockFile(filepath.Join(dir, ".fixture-"+f.Name), unix.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	path := filepath.Join(dir, fmt.Sprintf("fixture-%s-%s.img", f.Name, version))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	earlier, err := filepath.Glob(filepath.Join(dir, "fixture-"+f.Name+"-*"))
	if err != nil {
		return "", err
	}
	for _, old := range earlier {
		if err := os.Remove(old); err != nil {
			return "", err
		}
	}
	e.printf("making fixture %s", f.Name)
	tmp := path + ".tmp"
	if err := f.make(ctx, e, tmp, io); err != nil {
		return "", errors.Join(fmt.Errorf("make fixture %s: %w", f.Name, err), os.RemoveAll(tmp))
	}
	return path, os.Rename(tmp, path)
}

func (f Fixture) make(ctx context.Context, e Env, file string, io Streams) (err error) {
	vm, err := StartVM(ctx, e, VMConfig{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, vm.Close()) }()
	if err := vm.Run(ctx, f.Make, io); err != nil {
		return err
	}
	if err := vm.Exec(ctx, "sync", Streams{}); err != nil {
		return err
	}
	vm.PowerCut()
	return run(ctx, "cp", "--sparse=always", "--reflink=auto", vm.machine().disk(), file)
}

// contentOf is short and differs for files of different content.
func contentOf(files []string) (string, error) {
	sum := sha256.New()
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%d\n%s", len(b), b)
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:8]), nil
}
