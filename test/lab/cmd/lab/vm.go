package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

func vmCommands() []command {
	return []command{
		{"vmtest [FLAGS] BINARY [ARGS...]", "run a compiled test as root with ZFS, in a VM of its own unless this host has /dev/zfs", vmTest},
		{"fixture [FLAGS] NAME BINARY [ARGS...]", "print the path of a disk that a program has written, for vmtest -disk; it is made once and cached", fixture},
		{"vm up [FLAGS] NAME", "boot a machine that stays", vmUp},
		{"vm exec NAME COMMAND...", "run a shell command in it (standard input is passed on)", vmExec},
		{"vm kill NAME", "cut its power", vmKill},
		{"vm start NAME", "boot it again", vmStart},
		{"vm down NAME...", "remove it", down},
	}
}

// list collects a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func vmTest(ctx context.Context, env lab.Env, args []string) error {
	fs := flag.NewFlagSet("vmtest", flag.ContinueOnError)
	timeout := fs.Duration("timeout", 10*time.Minute, "limit for the test, from when the machine is up")
	mem := fs.Int("mem", 0, "MiB of memory")
	dir := fs.String("dir", ".", "working directory of the test")
	always := fs.Bool("vm", false, "use a VM even if this host has /dev/zfs")
	volatile := fs.Bool("volatile", false, "a disk that loses what was not flushed")
	disk := fs.String("disk", "", "what the machine's disk is a copy of (see fixture); default: an empty one")
	var vars list
	fs.Var(&vars, "env", "NAME=value for the test; may be repeated")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return errors.New("vmtest: which test binary?")
	}
	t := lab.TestRun{Binary: fs.Arg(0), Args: fs.Args()[1:], Env: vars, Dir: *dir}
	if _, err := os.Stat("/dev/zfs"); err == nil && !*always {
		return runHere(ctx, t, *timeout)
	}
	begin := time.Now()
	vm, err := lab.StartVM(ctx, env, lab.VMConfig{MemMB: *mem, Volatile: *volatile, Disk: *disk})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "lab: up after %v\n", time.Since(begin).Round(time.Second))
	ctx, cancel := context.WithTimeoutCause(ctx, *timeout, fmt.Errorf("the limit of %v is over", *timeout))
	defer cancel()
	err = vm.Run(ctx, t, lab.Streams{Out: os.Stdout, Err: os.Stderr})
	var exit *lab.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "lab: the console said:", vm.Console())
	}
	return errors.Join(err, vm.Close())
}

func runHere(ctx context.Context, t lab.TestRun, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	binary, err := filepath.Abs(t.Binary)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, binary, t.Args...)
	cmd.Dir, cmd.Env = t.Dir, append(os.Environ(), t.Env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return &lab.ExitError{Command: t.Binary, Code: exit.ExitCode()}
	}
	return err
}

func vmUp(ctx context.Context, env lab.Env, args []string) error {
	fs := flag.NewFlagSet("vm up", flag.ContinueOnError)
	mem := fs.Int("mem", 0, "MiB of memory")
	volatile := fs.Bool("volatile", false, "a disk that loses what was not flushed")
	disk := fs.String("disk", "", "what its disk is a copy of; default: an empty one")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return errors.New("vm up: want one name")
	}
	_, err := lab.StartVM(ctx, env, lab.VMConfig{Name: fs.Arg(0), MemMB: *mem, Volatile: *volatile, Disk: *disk, Detach: true})
	return err
}

func withVM(env lab.Env, args []string, do func(vm *lab.VM, rest []string) error) error {
	if len(args) == 0 {
		return errors.New("which VM? give its name")
	}
	vm, err := lab.OpenVM(env, args[0])
	if err != nil {
		return err
	}
	return do(vm, args[1:])
}

func vmExec(ctx context.Context, env lab.Env, args []string) error {
	return withVM(env, args, func(vm *lab.VM, rest []string) error {
		if err := vm.FreshFiles(ctx); err != nil {
			return err
		}
		return vm.Exec(ctx, strings.Join(rest, " "), lab.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	})
}

func vmKill(_ context.Context, env lab.Env, args []string) error {
	return withVM(env, args, func(vm *lab.VM, _ []string) error { vm.PowerCut(); return nil })
}

func vmStart(ctx context.Context, env lab.Env, args []string) error {
	return withVM(env, args, func(vm *lab.VM, _ []string) error { return vm.Boot(ctx) })
}

func down(_ context.Context, env lab.Env, args []string) error {
	var errs []error
	for _, name := range args {
		errs = append(errs, lab.Remove(env, name))
	}
	return errors.Join(errs...)
}
