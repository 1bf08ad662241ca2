//go:build lab

package lab_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestInterruptedUp kills `lab up` in the middle, and `lab down` has to find
// all that it left by the name alone.
func TestInterruptedUp(t *testing.T) {
	env := environment(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	if err := env.Build(ctx); err != nil {
		t.Fatal(err)
	}
	// A cache of its own, which has the programs but no disk yet.
	cache := t.TempDir()
	for _, d := range []string{"bin", "crds"} {
		if err := os.Symlink(filepath.Join(env.Cache, d), filepath.Join(cache, d)); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(t.TempDir(), "lab")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/lab").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const name = "interrupted"
	site := filepath.Join(env.Run, name)
	command := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Env = append(os.Environ(), "LAB_CACHE="+cache)
		return cmd
	}
	for _, c := range []struct{ when, file string }{
		{"unpacking images", filepath.Join(cache, "disks/.state-*/s.sock")},
		{"making its network", filepath.Join(site, "site.json")},
		{"starting the control plane", filepath.Join(site, "etcd.pid")},
		{"booting", filepath.Join(site, "vm1.pid")},
	} {
		t.Run(c.when, func(t *testing.T) {
			up := command("up", "-name", name, "1")
			up.Stderr = os.Stderr
			if err := up.Start(); err != nil {
				t.Fatal(err)
			}
			waitFile(ctx, t, c.file)
			if err := up.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = up.Wait()
			var pids []string
			if _, err := os.Stat(site); err == nil {
				if out, err := command("up", "-name", name, "1").CombinedOutput(); err == nil || !strings.Contains(string(out), "take it down first") {
					t.Errorf("up again: got %v and %q, want advice to take it down", err, out)
				}
				pids = processesOf(t, name)
			}
			if out, err := command("down", "-name", name).CombinedOutput(); err != nil {
				t.Errorf("down: %v\n%s", err, out)
			}
			checkGone(t, name, pids, site, cache)
			if left, _ := filepath.Glob(filepath.Join(cache, "disks/.state-*")); len(left) > 0 {
				t.Errorf("%v is left", left)
			}
		})
	}
	if out, err := command("down", "-name", name).CombinedOutput(); err != nil {
		t.Errorf("down of what is not there: %v\n%s", err, out)
	}
}

func waitFile(ctx context.Context, t *testing.T, pattern string) {
	t.Helper()
	for {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("no %s: %v", pattern, context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
}
