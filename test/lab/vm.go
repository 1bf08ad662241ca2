package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// VMConfig describes a machine without Kubernetes. The zero value is useful.
type VMConfig struct {
	Name     string // default: one that nobody else has
	MemMB    int    // default: LAB_MEM, or 1536
	Detach   bool   // stays when this process ends, until Remove
	Volatile bool   // a power cut loses what was not flushed; see Config.VolatileDisks
	Disk     string // what its disk is a copy of; default: an empty one. See [Fixture]
}

// VM is a machine with ZFS loaded, and nothing else running but sshd.
type VM struct {
	site *site
}

// StartVM boots a machine; it waits for a free slot first. ctx bounds the start
// only. On error nothing is left behind.
func StartVM(ctx context.Context, e Env, cfg VMConfig) (*VM, error) {
	if cfg.Name == "" {
		cfg.Name = fmt.Sprintf("t%d-%d", os.Getpid(), time.Now().UnixNano()%1e9)
	}
	if err := e.checkFree(cfg.Name); err != nil {
		return nil, err
	}
	if cfg.MemMB == 0 {
		cfg.MemMB = 1536
		if e.MemMB != 0 {
			cfg.MemMB = e.MemMB
		}
	}
	if cfg.Disk == "" {
		empty, err := e.emptyDisk(ctx)
		if err != nil {
			return nil, err
		}
		cfg.Disk = empty
	}
	slots, err := e.acquireSlots(ctx, 1)
	if err != nil {
		return nil, err
	}
	if err := e.checkRoom(cfg.MemMB+256, 1024); err != nil {
		closeAll(slots)
		return nil, err
	}
	m := &machine{Number: 1, MemMB: cfg.MemMB, CPUs: e.cpus(1), Volatile: cfg.Volatile}
	s := &site{Name: cfg.Name, Kind: kindVM, Detached: cfg.Detach, Machines: []*machine{m}}
	if err := newSite(ctx, e, s, slots); err != nil {
		return nil, err
	}
	if err := m.prepare(ctx, cfg.Disk); err != nil {
		return nil, errors.Join(err, s.down())
	}
	e.printf("booting %s", s.Name)
	if err := m.boot(ctx); err != nil {
		return nil, errors.Join(err, s.down())
	}
	return &VM{site: s}, nil
}

// OpenVM finds a machine that was started with Detach.
func OpenVM(e Env, name string) (*VM, error) {
	s, err := openSite(e, name, kindVM)
	if err != nil {
		return nil, err
	}
	return &VM{site: s}, nil
}

func (v *VM) machine() *machine { return v.site.Machines[0] }

// Name is what Remove and OpenVM take.
func (v *VM) Name() string { return v.site.Name }

// Exec runs a shell command as root; the error is an *[ExitError] if it ran and failed.
func (v *VM) Exec(ctx context.Context, command string, io Streams) error {
	return v.machine().exec(ctx, command, io)
}

// Output is Exec that returns standard output.
func (v *VM) Output(ctx context.Context, command string) (string, error) {
	return v.machine().output(ctx, command)
}

// TestRun is a program of the host's to run in a VM.
type TestRun struct {
	Binary string // path on the host
	Args   []string
	Env    []string // NAME=value
	Dir    string   // working directory on the host, seen in the VM with a scratch layer on top; default /
}

// Run runs a compiled test. It sees the host's files where the host has them, but
// for /run and /tmp (use /host/tmp); what it writes is gone with the VM.
func (v *VM) Run(ctx context.Context, t TestRun, io Streams) error {
	binary, err := filepath.Abs(t.Binary)
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return err
	}
	dir := "/"
	if t.Dir != "" {
		if dir, err = filepath.Abs(t.Dir); err != nil {
			return err
		}
		if strings.HasPrefix(dir, "/tmp/") || strings.HasPrefix(dir, "/run/") {
			dir = "/host" + dir
		}
	}
	if err := v.FreshFiles(ctx); err != nil {
		return err
	}
	words := []string{"cd", quote(dir), "&&", "exec", "env"}
	for _, e := range t.Env {
		words = append(words, quote(e))
	}
	words = append(words, quote("/host"+binary))
	for _, a := range t.Args {
		words = append(words, quote(a))
	}
	err = v.Exec(ctx, strings.Join(words, " "), io)
	var exit *ExitError
	if errors.As(err, &exit) {
		exit.Command = filepath.Base(t.Binary)
	}
	return err
}

// FreshFiles lets the machine see what has changed in the host's files since it
// looked at them; until then it may show them as they were.
func (v *VM) FreshFiles(ctx context.Context) error {
	return v.Exec(ctx, "sync && echo 3 >/proc/sys/vm/drop_caches", Streams{})
}

// PowerCut stops the machine at once. Boot starts it again, with its disk as the
// power cut left it.
func (v *VM) PowerCut() { v.machine().powerCut() }

// Boot starts the machine after a PowerCut.
func (v *VM) Boot(ctx context.Context) error { return v.site.bootMachine(ctx, v.machine()) }

func (s *site) bootMachine(ctx context.Context, m *machine) error {
	if m.running() {
		return fmt.Errorf("%s is running", m.name())
	}
	m.powerCut() // what a machine that stopped by itself left: its servers
	return m.boot(ctx)
}

// Console is the serial console's output since the last boot.
func (v *VM) Console() string { return v.site.tail(v.machine().vm()) }

// Close removes the machine and everything it had.
func (v *VM) Close() error { return v.site.down() }
