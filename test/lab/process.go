package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// daemon is a process that outlives the call that starts it.
type daemon struct {
	name  string     // of its pid file and log, unique in the site
	argv  []string   // run inside the site's network namespace
	files []*os.File // inherited from descriptor 3 on
}

// start runs d in the site's network namespace with its output in <name>.log.
// In a site that is not detached the kernel kills it when we die.
func (s *site) start(d daemon) error {
	log, err := os.OpenFile(filepath.Join(s.dir, d.name+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	argv := s.inNetwork(d.argv)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, d.files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !s.Detached {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if _, err := Spawn(cmd); err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	born, err := startTime(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("%s ended at once: %s", d.name, s.tail(d.name))
	}
	return os.WriteFile(s.pidFile(d.name), fmt.Appendf(nil, "%d %s", cmd.Process.Pid, born), 0o644)
}

func (s *site) pidFile(name string) string { return filepath.Join(s.dir, name+".pid") }

// pid is the process that the pid file names, or 0 if that one is gone. A number
// that the kernel has given to another process since does not count.
func (s *site) pid(name string) int {
	b, err := os.ReadFile(s.pidFile(name))
	if err != nil {
		return 0
	}
	number, born, _ := strings.Cut(string(b), " ")
	pid, err := strconv.Atoi(number)
	if err != nil {
		return 0
	}
	if now, err := startTime(pid); err != nil || now != born {
		return 0
	}
	return pid
}

// startTime is field 22 of /proc/<pid>/stat (proc(5)). A zombie counts as gone,
// but not while it has threads that still run: they hold its files.
func startTime(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" && fields[17] <= "1" {
		return "", errors.New("process has ended")
	}
	return fields[19], nil
}

// stop signals the named processes, waits, and kills what is left.
func (s *site) stop(sig syscall.Signal, names ...string) {
	deadline := time.Now().Add(5 * time.Second)
	for _, n := range names {
		if p := s.pid(n); p != 0 {
			_ = syscall.Kill(p, sig)
		}
	}
	for _, n := range names {
		for s.pid(n) != 0 {
			if time.Now().After(deadline) {
				_ = syscall.Kill(s.pid(n), syscall.SIGKILL)
			}
			time.Sleep(20 * time.Millisecond)
		}
		_ = os.Remove(s.pidFile(n))
	}
}

// tail is the end of a daemon's log, for error messages.
func (s *site) tail(name string) string {
	b, err := os.ReadFile(filepath.Join(s.dir, name+".log"))
	if err != nil {
		return err.Error()
	}
	if len(b) > 2000 {
		b = b[len(b)-2000:]
	}
	return strings.TrimSpace(string(b))
}

// Spawn starts a command and tells how it ended. With a Pdeathsig it dies with
// this process, and not before.
func Spawn(cmd *exec.Cmd) (<-chan error, error) {
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// The death signal is sent when the *thread* that forked ends.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	return ended, <-started
}

// runWithUs runs a command that the kernel kills when we die, however that is.
func runWithUs(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 10 * time.Second
	// The death signal is sent when the *thread* that forked ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}

// run executes a short command on the host; its error holds what it printed.
func run(ctx context.Context, argv ...string) error {
	_, err := output(ctx, argv...)
	return err
}

func output(ctx context.Context, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := runWithUs(cmd); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(errOut.String()+" "+out.String()))
	}
	return out.String(), nil
}

// quote makes one word of a POSIX shell.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
