package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func openRoot(t *testing.T, path string) *os.File {
	t.Helper()
	root, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func TestOpenDirRefusesWhatIsNoDirectory(t *testing.T) {
	dir := t.TempDir()
	outside := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"symbolic link":     func(p string) error { return os.Symlink(outside, p) },
		"relative link":     func(p string) error { return os.Symlink("..", p) },
		"link within":       func(p string) error { return os.Symlink("real", p) },
		"file":              func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"pipe":              func(p string) error { return unix.Mkfifo(p, 0o600) },
		"link to nowhere":   func(p string) error { return os.Symlink("/nonexistent", p) },
		"link to magic one": func(p string) error { return os.Symlink("/proc/self/fd/0", p) },
	} {
		path := filepath.Join(dir, name)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		root := openRoot(t, dir)
		f, err := openDir(root, name)
		if err == nil {
			f.Close()
			t.Errorf("%s was opened", name)
			continue
		}
		if err := refusal(root, name, err); dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := openDir(openRoot(t, dir), ".."); !errors.Is(err, unix.EXDEV) {
		t.Errorf("..: got %v, want EXDEV", err)
	}
}

func TestRemoverStaysInside(t *testing.T) {
	outside := t.TempDir()
	kept := filepath.Join(outside, "kept")
	if err := os.WriteFile(kept, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	top := t.TempDir()
	// Deeper than the descriptors that a removal holds.
	deep := top
	for range maxOpenDirs + 50 {
		deep = filepath.Join(deep, "d")
		if len(deep) > 3000 {
			break
		}
		if err := os.Mkdir(deep, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []struct{ to, at string }{{outside, "a"}, {kept, "b"}, {"..", "c"}} {
		for _, in := range []string{top, deep} {
			if err := os.Symlink(link.to, filepath.Join(in, link.at)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range namesAtOnce + 10 {
		if err := os.WriteFile(filepath.Join(top, "f"+string(rune('a'+n%26))+strings.Repeat("x", n/26)), nil, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	root := openRoot(t, top)
	removed := 0
	r := remover{top: root, passed: func() { removed++ }}
	if err := r.empty(t.Context(), root, 1); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(top)
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("a file outside is gone: %v", err)
	}
	if removed < namesAtOnce {
		t.Errorf("got %d removals", removed)
	}
}

func TestRemoverStopsWithItsContext(t *testing.T) {
	top := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(top, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	root := openRoot(t, top)
	r := remover{top: root, passed: cancel}
	if err := r.empty(ctx, root, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	if left, err := os.ReadDir(top); err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestALockThatIsHeldIsAskedForAgain(t *testing.T) {
	var l locks[string]
	unlock, err := l.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := l.lock(ctx, "a"); dot.CodeOf(err) != dot.CodeAborted {
		t.Errorf("got %v, want CodeAborted", err)
	}
}

func TestWithinLetsTheWorkFinish(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	unlocked, finish := make(chan struct{}), make(chan struct{})
	go func() { cancel() }()
	err := within(ctx, func() { close(unlocked) }, func() error { <-finish; return nil })
	if dot.CodeOf(err) != dot.CodeDeadline {
		t.Errorf("got %v, want CodeDeadline", err)
	}
	select {
	case <-unlocked:
		t.Error("unlocked while the work goes on")
	default:
	}
	close(finish)
	<-unlocked
}

func TestQuotaMemo(t *testing.T) {
	var m quotaMemo
	id := dot.NewBranchID()
	if m.is(id, 1, 0) {
		t.Error("knows what was never set")
	}
	m.note(id, map[uint32]int64{1: 5})
	if !m.is(id, 1, 5) || m.is(id, 1, 6) || m.is(id, 2, 5) {
		t.Error("does not know what was set")
	}
	m.forget(id)
	if m.is(id, 1, 5) {
		t.Error("has not forgotten")
	}
}

func TestCheckRecord(t *testing.T) {
	sub := must(dot.ParseSubdot("logs"))
	for _, c := range []struct {
		subdot  dot.Subdot
		project uint32
		ok      bool
	}{{sub, 7, true}, {sub, 0, false}, {dot.RootSubdot, 0, true}, {dot.RootSubdot, 7, false}, {dot.Subdot{}, 0, false}} {
		if err := checkRecord(c.subdot, dot.SubdotRecord{ProjectID: c.project}); (err == nil) != c.ok {
			t.Errorf("%v %d: got %v", c.subdot, c.project, err)
		}
	}
}
