package zfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fake is a client whose zfs is a script, to test what real ZFS does not do on
// demand.
func fake(t *testing.T, script string, cfg Config) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "zfs")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg.ZFS, cfg.Zpool = path, path
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRunGivesOutputAndEnvironment(t *testing.T) {
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	t.Setenv("SECRET", "hidden")
	c := fake(t, `echo "$LC_ALL,$SECRET,$1,$2"`, Config{})
	out, err := c.zfs(t.Context(), "a b", "$(c)")
	if got, want := string(out), "C,,a b,$(c)\n"; got != want || err != nil {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestRunKeepsExitCodeAndStderr(t *testing.T) {
	c := fake(t, `echo "cannot open 'p/x': dataset does not exist" >&2; exit 3`, Config{})
	_, err := c.zfs(t.Context(), "get", "p/x")
	var failure *CommandError
	if !errors.As(err, &failure) || failure.ExitCode != 3 || !errors.Is(err, ErrNotFound) ||
		!strings.Contains(err.Error(), "dataset does not exist") {
		t.Errorf("got %#v", err)
	}
}

func TestProcessesThatChangeSomethingHoldAFile(t *testing.T) {
	for what, run := range map[string]func(*Client) error{
		"list":    func(c *Client) error { _, err := c.Pools(t.Context()); return err },
		"destroy": func(c *Client) error { return c.Destroy(t.Context(), Dataset{"p/a"}) },
	} {
		name := filepath.Join(t.TempDir(), "lock")
		file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		// It lives on as one does whose caller was killed.
		if err := run(fake(t, `(sleep 1) >/dev/null 2>&1 & exit 0`, Config{}).Holding(file)); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		other, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Close() }()
		err = unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if held := errors.Is(err, unix.EWOULDBLOCK); held != (what == "destroy") {
			t.Errorf("%s: held is %t while it runs: %v", what, held, err)
		}
		if err := unix.Flock(int(other.Fd()), unix.LOCK_EX); err != nil {
			t.Errorf("%s: when it has ended: %v", what, err)
		}
	}
}

func TestRunKillsTheGroupWhenTheContextEnds(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "alive")
	c := fake(t, `(sleep 1; echo x > "`+marker+`") & sleep 60`, Config{Timeout: 300 * time.Millisecond})
	began := time.Now()
	_, err := c.zfs(t.Context(), "list")
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > killGrace {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	time.Sleep(1500 * time.Millisecond)
	if _, err := os.Stat(marker); err == nil {
		t.Error("a child of the killed command lives on")
	}
}

func TestRunReturnsThoughAProcessCannotBeKilled(t *testing.T) {
	// A child that left the group keeps the output open, as a process that is
	// stuck in the kernel does.
	left := filepath.Join(t.TempDir(), "left")
	c := fake(t, `setsid sh -c 'touch `+left+`; sleep 10' & sleep 60`, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var cancelled time.Time
	go func() {
		for _, err := os.Stat(left); err != nil && ctx.Err() == nil; _, err = os.Stat(left) {
			time.Sleep(10 * time.Millisecond)
		}
		cancelled = time.Now()
		cancel()
	}()
	_, err := c.zfs(ctx, "list")
	if !errors.Is(err, ErrStuck) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if elapsed := time.Since(cancelled); elapsed > killGrace+2*time.Second {
		t.Errorf("it took %v", elapsed)
	}
}

func TestSendDrainsASlowReader(t *testing.T) {
	c := fake(t, `head -c 300000 /dev/zero`, Config{})
	w := &slowWriter{}
	if err := c.Send(t.Context(), SendSpec{To: Snapshot{Dataset{"p/a"}, "s"}}, w); err != nil || w.n != 300000 {
		t.Errorf("%d bytes, %v", w.n, err)
	}
}

type slowWriter struct{ n int }

func (w *slowWriter) Write(b []byte) (int, error) {
	time.Sleep(20 * time.Millisecond)
	w.n += len(b)
	return len(b), nil
}

func TestSendEndsWhenTheWriterFails(t *testing.T) {
	c := fake(t, `cat /dev/zero`, Config{})
	err := c.Send(t.Context(), SendSpec{To: Snapshot{Dataset{"p/a"}, "s"}}, failingWriter{})
	if !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("got %v", err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrShortBuffer }

func TestReceiveReportsTheReadersFailure(t *testing.T) {
	c := fake(t, `cat >/dev/null; echo "cannot receive: failed to read from stream" >&2; exit 1`, Config{})
	err := c.Receive(t.Context(), ReceiveSpec{Target: Snapshot{Dataset{"p/a"}, "s"}}, failingReader{})
	if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, ErrStreamIncomplete) {
		t.Errorf("got %v", err)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestReceiveEndsWithTheProcess(t *testing.T) {
	c := fake(t, `echo "cannot receive new filesystem stream: destination 'p/a' exists" >&2; exit 1`, Config{})
	r, w := io.Pipe() // never written: a Read of it blocks
	defer w.Close()
	if err := c.Receive(t.Context(), ReceiveSpec{Target: Snapshot{Dataset{"p/a"}, "s"}}, r); err == nil {
		t.Error("no error")
	}
}

func TestObserverHearsOfEveryProcess(t *testing.T) {
	var heard [][]string
	c := fake(t, `exit 0`, Config{Observe: func(args []string, _ time.Duration, _ error) { heard = append(heard, args) }})
	if err := c.CreateFilesystem(t.Context(), Dataset{"p/a"}, Props{"io.dotmesh:x": "y"}); err != nil {
		t.Fatal(err)
	}
	if len(heard) != 1 || strings.Join(heard[0], " ") != "zfs create -u -o io.dotmesh:x=y p/a" {
		t.Errorf("heard %q", heard)
	}
}

func TestNoProcessForBadArguments(t *testing.T) {
	c := fake(t, `exit 0`, Config{Observe: func(args []string, _ time.Duration, _ error) { t.Errorf("started %q", args) }})
	ctx := t.Context()
	d, s := Dataset{"p/a"}, Snapshot{Dataset{"p/a"}, "s"}
	for name, err := range map[string]error{
		"create nothing":     c.CreateFilesystem(ctx, Dataset{}, nil),
		"create bad prop":    c.CreateFilesystem(ctx, d, Props{"a=b": ""}),
		"destroy nothing":    c.Destroy(ctx, Dataset{}),
		"destroy pool root":  c.Destroy(ctx, Dataset{"p"}),
		"destroy two fs":     c.DestroySnapshots(ctx, s, Snapshot{Dataset{"p/b"}, "s"}),
		"clone to nothing":   c.Clone(ctx, s, Dataset{}, nil),
		"rename to nothing":  c.Rename(ctx, d, Dataset{}),
		"hold bad tag":       c.Hold(ctx, "-r", s),
		"fence nothing":      c.SetReadonly(ctx, Dataset{}, true),
		"create pool on rel": c.CreatePool(ctx, PoolSpec{Name: PoolName{"p"}, Devices: []string{"sda"}}),
		"import nothing":     c.Import(ctx, ImportSpec{Devices: []string{"/dev/loop0"}}),
		"send bad token":     c.Send(ctx, SendSpec{ResumeToken: "-t x"}, io.Discard),
	} {
		if !errors.Is(err, ErrInvalidName) && !errors.Is(err, ErrInvalidValue) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewRefusesRelativePrograms(t *testing.T) {
	if _, err := New(Config{ZFS: "./zfs"}); err == nil {
		t.Error("no error")
	}
	if _, err := New(Config{Chroot: t.TempDir()}); err == nil {
		t.Error("no error for a root without ZFS")
	}
}

func TestPointsAreListedOnce(t *testing.T) {
	source, err := os.ReadFile("points.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range Points() {
		if seen[string(p)] {
			t.Errorf("%s is listed twice", p)
		}
		seen[string(p)] = true
	}
	if declared := bytes.Count(source, []byte(`crash.Point = "`)); declared != len(seen) {
		t.Errorf("%d points declared, %d listed", declared, len(seen))
	}
}
