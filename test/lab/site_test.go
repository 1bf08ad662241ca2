//go:build lab

package lab

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSite is the life of a site without machines: it keeps its slots while it
// is up, and gives them back, with its namespace and directory, when it is down.
func TestSite(t *testing.T) {
	env, err := HostEnv(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	env.Run = t.TempDir()
	path := filepath.Join(t.TempDir(), "slot")
	slot, err := lockFile(path, unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{Name: "sitetest", Kind: kindVM}
	if err := newSite(t.Context(), env, s, []*os.File{slot}); err != nil {
		t.Fatal(err)
	}
	if f, err := lockFile(path, unix.LOCK_EX|unix.LOCK_NB); err == nil {
		f.Close()
		t.Error("the slot is free while the site is up")
	}
	if err := s.down(); err != nil {
		t.Fatal(err)
	}
	f, err := lockFile(path, unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		t.Errorf("the slot is taken after the site went down: %v", err)
	} else {
		f.Close()
	}
	for _, left := range []string{s.dir, "/run/netns/" + s.netns()} {
		if _, err := os.Stat(left); err == nil {
			t.Errorf("%s is left", left)
		}
	}
}
