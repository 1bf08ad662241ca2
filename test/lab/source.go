package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Source gives the repository's tree of an earlier commit, for [Build]. It is cached:
// only its first use needs the repository's history.
func (e Env) Source(ctx context.Context, commit string) (string, error) {
	repo, err := Repository()
	if err != nil {
		return "", err
	}
	parent := filepath.Join(e.Cache, "source")
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	lock, err := lockFile(filepath.Join(parent, ".lock"), unix.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	dir := filepath.Join(parent, commit)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	var tree, problems bytes.Buffer
	git := exec.CommandContext(ctx, "git", "-C", repo, "archive", "--format=tar", commit)
	git.Stdout, git.Stderr = &tree, &problems
	if err := git.Run(); err != nil {
		return "", fmt.Errorf("commit %s: %w: %s", commit, err, problems.String())
	}
	fresh := filepath.Join(parent, ".fresh")
	if err := errors.Join(os.RemoveAll(fresh), os.Mkdir(fresh, 0o755)); err != nil {
		return "", err
	}
	tar := exec.CommandContext(ctx, "tar", "-x", "-C", fresh)
	tar.Stdin, tar.Stderr = &tree, &problems
	if err := tar.Run(); err != nil {
		return "", fmt.Errorf("unpack commit %s: %w: %s", commit, err, problems.String())
	}
	return dir, os.Rename(fresh, dir)
}
