package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ExitError says that a command ran on a machine and failed.
type ExitError struct {
	Command string
	Code    int
	Stderr  string // its end; empty where the caller gave a writer for it
}

func (e *ExitError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%s: exit status %d: %s", e.Command, e.Code, e.Stderr))
}

func (m *machine) controlSocket() string { return filepath.Join(m.dir(), "ssh.sock") }

func (m *machine) sshCommand(extra ...string) []string {
	argv := []string{
		"ssh", "-F", "none", "-o", "LogLevel=ERROR", "-i", filepath.Join(m.site.dir, "ssh_key"),
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "ControlPath=" + m.controlSocket(), "-o", "ConnectTimeout=100",
		"-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8",
	}
	return append(append(argv, extra...), "root@"+m.control())
}

// connect opens the connection that all later commands share: the handshake costs
// a second on an emulated machine, and many on a busy one.
func (m *machine) connect(ctx context.Context) error {
	for try := 1; ; try++ {
		m.site.stop(syscall.SIGKILL, m.ssh())
		_ = os.Remove(m.controlSocket())
		err := m.site.start(daemon{name: m.ssh(), argv: m.sshCommand("-M", "-N")})
		if err == nil {
			err = m.waitSocket(ctx, m.ssh(), m.controlSocket())
		}
		if err == nil || try == 5 || !m.running() {
			return err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// Streams of a command on a machine; nil ones are empty or dropped.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// exec runs a shell command on the machine as root. When ctx ends, the command is
// left to itself: a machine is killed, not its commands.
func (m *machine) exec(ctx context.Context, command string, io Streams) error {
	if m.site.pid(m.ssh()) == 0 && m.running() {
		if err := m.connect(ctx); err != nil {
			return err
		}
	}
	argv := m.site.inNetwork(append(m.sshCommand("-T"), command))
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
	var tail bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = io.In, io.Out, io.Err
	if io.Err == nil {
		cmd.Stderr = &tail
	}
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("%s on %s: %w", command, m.name(), context.Cause(ctx))
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if !m.running() {
		return fmt.Errorf("%s on %s: the machine stopped: %s", command, m.name(), m.site.tail(m.vm()))
	}
	text := tail.String()
	return &ExitError{Command: command, Code: exit.ExitCode(), Stderr: text[max(0, len(text)-4000):]}
}

// output runs a command and returns what it printed.
func (m *machine) output(ctx context.Context, command string) (string, error) {
	var out bytes.Buffer
	err := m.exec(ctx, command, Streams{Out: &out})
	return out.String(), err
}
