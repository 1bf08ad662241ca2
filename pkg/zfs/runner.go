package zfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// killGrace is how long a killed process gets to leave the kernel. One that
	// waits for a suspended pool never does; the caller is not kept.
	killGrace = 3 * time.Second
	maxStderr = 64 << 10
)

// command is one process to run.
type command struct {
	path string
	args []string // args[0] is "zfs" or "zpool"
	// stdin and stdout make it a stream: no default timeout.
	stdin  io.Reader
	stdout io.Writer
	// input is small standard input of a command that is no stream.
	input string
	// long: it reads a whole pool, and may take longTimes as long as another.
	long bool
}

const longTimes = 5

func (c *Client) zfs(ctx context.Context, args ...string) ([]byte, error) {
	return c.run(ctx, command{path: c.cfg.ZFS, args: append([]string{"zfs"}, args...)})
}

func (c *Client) zpool(ctx context.Context, args ...string) ([]byte, error) {
	return c.run(ctx, command{path: c.cfg.Zpool, args: append([]string{"zpool"}, args...)})
}

// run is the one place that starts processes. It returns when the process has
// ended and its output was read, or killGrace after the context ended.
func (c *Client) run(ctx context.Context, cmd command) ([]byte, error) {
	if cmd.stdin == nil && cmd.stdout == nil {
		limit := c.cfg.Timeout
		if cmd.long {
			limit *= longTimes
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	if err := ctx.Err(); err != nil {
		return nil, &CommandError{Args: cmd.args, ExitCode: -1, Cause: err}
	}
	p, err := c.start(cmd)
	if err != nil {
		return nil, &CommandError{Args: cmd.args, ExitCode: -1, Cause: err}
	}
	began := time.Now()
	go p.wait()
	out, err := p.outcome(ctx)
	if c.changing && errors.Is(err, ErrStuck) {
		c.unfinished.Add(1)
		go func() {
			<-p.done
			c.unfinished.Add(-1)
		}()
	}
	if c.cfg.Observe != nil {
		c.cfg.Observe(cmd.args, time.Since(began), err)
	}
	return out, err
}

// process is a started command. Its pipes are its own rather than exec.Cmd's,
// because exec.Cmd either waits without a bound for who reads them or cuts off
// what a slow reader has not taken when the process exits.
type process struct {
	args   []string
	cmd    *exec.Cmd
	out    bytes.Buffer
	stderr bytes.Buffer
	gate   *gate // between the process's output and the caller's writer
	// outputs are the goroutines that take what the process writes.
	outputs sync.WaitGroup
	// feeder is our end of the pipe to the process's standard input, or nil.
	feeder  *os.File
	inErr   atomic.Pointer[error] // the reader of a stream failed
	outErr  error
	waitErr error
	done    chan struct{} // closed when out, stderr, outErr and waitErr are final
}

func (c *Client) start(cmd command) (*process, error) {
	p := &process{args: cmd.args, done: make(chan struct{})}
	p.cmd = exec.Command(cmd.path)
	p.cmd.Args = cmd.args
	p.cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	p.cmd.Dir = "/"
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Chroot: c.cfg.Chroot}
	if c.changing && c.held != nil {
		p.cmd.ExtraFiles = []*os.File{c.held}
	}

	var childEnds []io.Closer
	defer func() {
		for _, end := range childEnds {
			_ = end.Close()
		}
	}()
	stdin := cmd.stdin
	if cmd.input != "" {
		stdin = bytes.NewReader([]byte(cmd.input))
	}
	if file, ok := stdin.(*os.File); ok {
		p.cmd.Stdin = file
	} else if stdin != nil {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		p.cmd.Stdin = r
		childEnds, p.feeder = append(childEnds, r), w
		defer p.feed(stdin, w)
	}
	if file, ok := cmd.stdout.(*os.File); ok {
		p.cmd.Stdout = file
	} else {
		var sink io.Writer = &p.out
		if cmd.stdout != nil {
			p.gate = &gate{w: cmd.stdout}
			sink = p.gate
		}
		w, err := p.drain(sink, &p.outErr)
		if err != nil {
			return nil, err
		}
		p.cmd.Stdout = w
		childEnds = append(childEnds, w)
	}
	w, err := p.drain(&limited{buf: &p.stderr, left: maxStderr}, new(error))
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr = w
	childEnds = append(childEnds, w)
	return p, p.cmd.Start()
}

// feed copies in to the process; a process that stops reading ends it.
func (p *process) feed(in io.Reader, w *os.File) {
	go func() {
		_, err := io.Copy(w, in)
		if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
			err = fmt.Errorf("reading the stream: %w", err)
			p.inErr.Store(&err)
		}
		_ = w.Close()
	}()
}

// drain returns the write end of a pipe whose content goes to w.
func (p *process) drain(w io.Writer, failure *error) (*os.File, error) {
	r, child, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.outputs.Go(func() {
		_, *failure = io.Copy(w, r)
		_ = r.Close() // a failed writer must end the process: EPIPE
	})
	return child, nil
}

func (p *process) wait() {
	p.waitErr = p.cmd.Wait()
	if p.feeder != nil {
		_ = p.feeder.Close() // ends feed, unless it waits for the caller's reader
	}
	p.outputs.Wait()
	close(p.done)
}

// outcome waits for the end of the process or, after the context's end, kills
// its group and waits at most killGrace.
func (p *process) outcome(ctx context.Context) ([]byte, error) {
	select {
	case <-p.done:
		return p.finished(nil)
	case <-ctx.Done():
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	if p.gate != nil {
		p.gate.shut() // the caller's writer is the caller's again
	}
	timer := time.NewTimer(killGrace)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.finished(ctx.Err())
	case <-timer.C:
		cause := fmt.Errorf("process %d: %w: %w", p.cmd.Process.Pid, ErrStuck, ctx.Err())
		return nil, &CommandError{Args: p.args, ExitCode: -1, Cause: cause}
	}
}

func (p *process) finished(cause error) ([]byte, error) {
	if p.waitErr == nil && p.outErr == nil {
		return p.out.Bytes(), nil // also when the context ended just then
	}
	e := &CommandError{Args: p.args, ExitCode: p.cmd.ProcessState.ExitCode(), Stderr: p.stderr.String()}
	e.Dependents, e.Kind = classify(e.Stderr)
	var exit *exec.ExitError
	switch failure := p.inErr.Load(); {
	case cause != nil:
		e.Cause = cause
	case p.outErr != nil:
		e.Cause = fmt.Errorf("passing on the output: %w", p.outErr)
	case failure != nil:
		e.Cause = *failure
	case !errors.As(p.waitErr, &exit):
		e.Cause = p.waitErr
	}
	return nil, e
}

// gate passes writes until it is shut; then none reaches w any more.
type gate struct {
	mu     sync.Mutex
	w      io.Writer
	closed bool
}

func (g *gate) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return 0, os.ErrClosed
	}
	return g.w.Write(b)
}

func (g *gate) shut() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
}

// limited keeps the first bytes and drops the rest.
type limited struct {
	buf  *bytes.Buffer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.buf.Write(b[:n])
	l.left -= n
	return len(b), nil
}
