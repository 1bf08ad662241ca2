package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

//go:embed assets/machine.sh
var machineScript string

// bootLimit is generous: a machine is up in ten seconds when it has the host for itself.
const bootLimit = 5 * time.Minute

// machine is one QEMU process with its file server and its disk.
type machine struct {
	Number   int // from 1
	MemMB    int
	CPUs     int
	Volatile bool   // see Config.VolatileDisks
	Script   string // of /bin/bash, what it does after machine.sh

	site *site
}

func (m *machine) name() string    { return fmt.Sprintf("node%d", m.Number) }
func (m *machine) dir() string     { return filepath.Join(m.site.dir, fmt.Sprintf("m%d", m.Number)) }
func (m *machine) address() string { return fmt.Sprintf("%s.%d", m.site.subnet(), 10+m.Number) }
func (m *machine) control() string { return fmt.Sprintf("%s.%d", m.site.controlNet(), 10+m.Number) }
func (m *machine) tap() string     { return fmt.Sprintf("tap%d", m.Number) }

// controlTap carries ssh alone, so that a node cut off its network can be looked into.
func (m *machine) controlTap() string { return fmt.Sprintf("ctl%d", m.Number) }

func (m *machine) vm() string   { return fmt.Sprintf("vm%d", m.Number) }
func (m *machine) fs() string   { return fmt.Sprintf("fs%d", m.Number) }
func (m *machine) nbd() string  { return fmt.Sprintf("nbd%d", m.Number) }
func (m *machine) ssh() string  { return fmt.Sprintf("ssh%d", m.Number) }
func (m *machine) disk() string { return filepath.Join(m.dir(), "disk") }

// monitor is the socket of QEMU's monitor (package qmp).
func (m *machine) monitor() string { return filepath.Join(m.dir(), "qmp.sock") }

// identity is 16 bytes that no other machine has and that this one always has.
func (m *machine) identity() []byte {
	sum := sha256.Sum256([]byte(m.site.dir + "/" + m.name()))
	sum[0] |= 1 // a hostid of zero means "none" to ZFS
	return sum[:16]
}

// prepare makes what the machine needs before its first boot: a disk, copied
// from a template, and two taps.
func (m *machine) prepare(ctx context.Context, template string) error {
	// Closed to others: whoever reaches the monitor has the machine.
	if err := os.MkdirAll(m.dir(), 0o700); err != nil {
		return err
	}
	if err := run(ctx, "cp", "--sparse=always", "--reflink=auto", template, m.disk()); err != nil {
		return err
	}
	for _, t := range [][2]string{{m.tap(), "br0"}, {m.controlTap(), "br1"}} {
		if err := run(ctx, m.site.inNetwork([]string{"ip", "tuntap", "add", t[0], "mode", "tap"})...); err != nil {
			return err
		}
		if err := run(ctx, m.site.inNetwork([]string{"ip", "link", "set", t[0], "master", t[1], "up"})...); err != nil {
			return err
		}
	}
	return nil
}

// boot starts the machine and returns when its init script says so.
func (m *machine) boot(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, fmt.Errorf("not up after %v", bootLimit))
	defer cancel()
	s := m.site
	kernel, err := kernel()
	if err != nil {
		return err
	}
	initrd, err := s.env.initrd(ctx, kernel)
	if err != nil {
		return err
	}
	if err := m.writeInit(); err != nil {
		return err
	}
	_ = os.Rename(filepath.Join(s.dir, m.vm()+".log"), filepath.Join(s.dir, m.vm()+".previous.log"))
	if err := m.startServers(ctx); err != nil {
		return err
	}
	if err := m.power(ctx, m.qemu(kernel, initrd)); err != nil {
		return err
	}
	if err := m.waitReady(ctx); err != nil {
		return err
	}
	return m.connect(ctx)
}

// power starts QEMU, with the cloud disks that are the machine's.
func (m *machine) power(ctx context.Context, argv []string) error {
	_ = os.Remove(m.monitor())
	start := func(disks []string) error {
		if err := m.site.start(daemon{name: m.vm(), argv: slices.Concat(argv, disks)}); err != nil {
			return err
		}
		return m.waitSocket(ctx, m.vm(), m.monitor())
	}
	if !m.site.CloudDisk {
		return start(nil)
	}
	return m.site.disks().Boot(ctx, m.name(), start)
}

// startServers starts what QEMU connects to: the host's files and, if asked for,
// the disk's volatile cache.
func (m *machine) startServers(ctx context.Context) error {
	socket := filepath.Join(m.dir(), "fs.sock")
	_ = os.Remove(socket)
	// cache=always, or a guest reads each file anew whenever it is opened, and so
	// libc for each process. See [VM.FreshFiles] for those that change.
	argv := []string{findTool("virtiofsd"), "--socket-path=" + socket}
	if strings.HasPrefix(argv[0], "/usr/lib/qemu/") {
		argv = append(argv, "-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot")
	} else {
		argv = append(argv, "--shared-dir=/", "--cache=always", "--sandbox=chroot")
	}
	if err := m.site.start(daemon{name: m.fs(), argv: argv}); err != nil {
		return err
	}
	if err := m.waitSocket(ctx, m.fs(), socket); err != nil || !m.Volatile {
		return err
	}
	return m.startVolatileDisk(ctx)
}

func (m *machine) waitSocket(ctx context.Context, name, path string) error {
	for {
		if fi, err := os.Stat(path); err == nil && fi.Mode().Type() == os.ModeSocket {
			return nil
		}
		if m.site.pid(name) == 0 {
			break
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("waiting for %s of %s: %w", name, m.site.Name, err)
		}
	}
	return fmt.Errorf("%s of %s did not start: %s", name, m.site.Name, m.site.tail(name))
}

// cpu leaves out what emulation makes slow: with erms and fsrm the kernel clears
// and copies pages by the byte (rep stosb), which alone doubles the time that a
// process takes to start. The TSC of emulated CPUs is the host's clock, and so
// the same on all of them; a guest that does not believe it (no tsc=reliable)
// reads the HPET, at one emulated access for each look at the time. (And one that
// checks its timer while the host is busy may panic: no_timer_check.) What guards a
// kernel against speculation costs an emulated one dear, and is for nothing there.
func (e Env) cpu() string {
	if strings.HasPrefix(e.Accel, "tcg") {
		return "max,-erms,-fsrm"
	}
	return "max"
}

func (m *machine) qemu(kernel, initrd string) []string {
	e := m.site.env
	id := m.identity()
	argv := []string{
		"qemu-system-x86_64", "-accel", e.Accel, "-cpu", e.cpu(),
		"-m", fmt.Sprint(m.MemMB), "-smp", fmt.Sprint(m.CPUs),
		"-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio",
		"-kernel", "/boot/vmlinuz-" + kernel, "-initrd", initrd,
		"-append", "console=ttyS0 panic=-1 quiet loglevel=3 no_timer_check mitigations=off init_on_alloc=0 " + e.clock() + " lab.init=" + filepath.Join(m.dir(), "init"),
		"-object", fmt.Sprintf("memory-backend-memfd,id=mem,size=%dM,share=on", m.MemMB), "-numa", "node,memdev=mem",
		"-chardev", "socket,id=fs,path=" + filepath.Join(m.dir(), "fs.sock"),
		"-device", "vhost-user-fs-pci,queue-size=1024,chardev=fs,tag=host",
		"-netdev", "tap,id=n0,ifname=" + m.tap() + ",script=no,downscript=no",
		"-device", fmt.Sprintf("virtio-net-pci,netdev=n0,romfile=,mac=52:54:00:%02x:%02x:%02x", id[1], id[2], m.Number),
		"-netdev", "tap,id=n1,ifname=" + m.controlTap() + ",script=no,downscript=no",
		"-device", fmt.Sprintf("virtio-net-pci,netdev=n1,romfile=,mac=52:54:01:%02x:%02x:%02x", id[1], id[2], m.Number),
		"-device", "virtio-rng-pci",
		"-qmp", "unix:" + m.monitor() + ",server=on,wait=off",
	}
	// writeback: a flush of the guest's is an fdatasync here, as on a real disk.
	drive := "file=" + m.disk() + ",format=raw"
	if m.Volatile {
		drive = "driver=nbd,server.type=unix,server.path=" + m.nbdSocket()
	}
	// A device of its own, not if=virtio: that would come after all others, and this
	// is to be the guest's /dev/vda.
	return append(argv, "-drive", drive+",if=none,id=state,cache=writeback", "-device", "virtio-blk-pci,drive=state")
}

func (m *machine) writeInit() error {
	s, id := m.site, m.identity()
	var b strings.Builder
	for _, v := range [][2]string{
		{"NODE", m.name()}, {"ADDRESS", m.address()}, {"CONTROL", m.control()}, {"GATEWAY", s.gateway()}, {"SUBNET", s.subnet()},
		{"NUMBER", fmt.Sprint(m.Number)}, {"CLOUD_DISK", s.nodeDriver()},
		{"HOSTID", fmt.Sprintf("%x", id[:4])}, {"MACHINE_ID", fmt.Sprintf("%x", id)},
		{"SITE", "/host" + s.dir}, {"BIN", "/host" + s.env.binDir()},
	} {
		fmt.Fprintf(&b, "%s=%s\n", v[0], quote(v[1]))
	}
	b.WriteString(machineScript)
	b.WriteString(m.Script)
	b.WriteString("\necho LAB-READY\nwhile :; do sleep 3600 & wait; done\n")
	return os.WriteFile(filepath.Join(m.dir(), "init"), []byte(b.String()), 0o644)
}

// waitReady watches the serial console.
func (m *machine) waitReady(ctx context.Context) error {
	path := filepath.Join(m.site.dir, m.vm()+".log")
	for {
		log, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(log, []byte("LAB-ERROR")) {
			return fmt.Errorf("%s of %s: %s", m.name(), m.site.Name, m.site.tail(m.vm()))
		}
		if bytes.Contains(log, []byte("LAB-READY")) {
			return nil
		}
		if m.site.pid(m.vm()) == 0 {
			return fmt.Errorf("%s of %s stopped while booting: %s", m.name(), m.site.Name, m.site.tail(m.vm()))
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("%s of %s does not finish booting: %w: %s", m.name(), m.site.Name, err, m.site.tail(m.vm()))
		}
	}
}

// powerCut ends the machine as a power cut does: nothing in it gets a last word.
func (m *machine) powerCut() {
	m.site.stop(syscall.SIGKILL, m.vm())
	m.site.stop(syscall.SIGKILL, m.nbd(), m.fs(), m.ssh())
	_ = os.Remove(m.controlSocket())
}

func (m *machine) running() bool { return m.site.pid(m.vm()) != 0 }

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
