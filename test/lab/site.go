package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// site is the part that a VM and a cluster have in common: a directory, a network
// namespace with a bridge, and the machines on it. Its exported fields are kept
// in site.json, so that another process can go on with it.
type site struct {
	Name     string
	Kind     string // "vm" or "cluster"
	Detached bool
	Machines []*machine
	// A cluster's: what all its machines are made like (the number is the last one
	// that was given), with which images, and whether there are cloud disks.
	Pattern   machine
	Images    []string
	CloudDisk bool

	env   Env
	dir   string
	owner *os.File   // held while a site that is not detached is in use
	mu    sync.Mutex // guards Machines and Pattern; see changeMachines
}

func (e Env) siteDir(name string) string { return filepath.Join(e.Run, name) }

// ErrNotRunning means that there is no VM or cluster of that name.
var ErrNotRunning = errors.New("not running")

// newSite clears away what an earlier process left under the site's name and
// starts it afresh with a network. The slots are its machines', in their order;
// the caller's files are closed.
func newSite(ctx context.Context, e Env, s *site, slots []*os.File) error {
	defer closeAll(slots)
	if os.Geteuid() != 0 {
		return errors.New("the lab needs root: it makes network namespaces and runs QEMU on a bridge")
	}
	if err := e.checkTools(); err != nil {
		return err
	}
	s.env, s.dir = e, e.siteDir(s.Name)
	for _, m := range s.Machines {
		m.site = s
	}
	if err := s.claim(ctx); err != nil {
		return err
	}
	err := errors.Join(s.save(), s.makeNetwork(ctx), s.makeKeys(ctx))
	for i, f := range slots {
		err = errors.Join(err, s.keepSlot(i+1, f))
	}
	if err != nil {
		return errors.Join(err, s.down())
	}
	return nil
}

// checkFree refuses a name that is bad or taken. A site whose owner has died does
// not count: the next claim collects it.
func (e Env) checkFree(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	dir := e.siteDir(name)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if owner, err := os.Open(filepath.Join(dir, "owner.lock")); err == nil {
		defer owner.Close()
		if unix.Flock(int(owner.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			return nil
		}
	}
	return fmt.Errorf("%s is up already, or its start was interrupted: take it down first", name)
}

// claim makes the site's directory, which is what owns the name.
func (s *site) claim(ctx context.Context) error {
	if err := os.MkdirAll(s.env.Run, 0o755); err != nil {
		return err
	}
	// Without the gate, collect could meet a directory between its making and its locking.
	gate, err := lockFile(filepath.Join(s.env.Run, ".gate"), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer gate.Close()
	s.env.collect(ctx)
	if err := s.env.checkFree(s.Name); err != nil {
		return err
	}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return err
	}
	if !s.Detached {
		s.owner, err = lockFile(filepath.Join(s.dir, "owner.lock"), unix.LOCK_EX)
	}
	return err
}

// openSite finds a running site by name.
func openSite(e Env, name, kind string) (*site, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	s := &site{env: e, dir: e.siteDir(name)}
	b, err := os.ReadFile(filepath.Join(s.dir, "site.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s %q: %w", kind, name, ErrNotRunning)
	} else if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s/site.json: %w", s.dir, err)
	}
	if s.Kind != kind {
		return nil, fmt.Errorf("%q is a %s, not a %s", name, s.Kind, kind)
	}
	for _, m := range s.Machines {
		m.site = s
	}
	return s, nil
}

func (s *site) save() error {
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return writeAtomically(filepath.Join(s.dir, "site.json"), b)
}

// netns is the name of the site's network namespace.
func (s *site) netns() string { return "dmlab-" + s.Name }

// subnet is the first three bytes of the machines' network. Sites are apart
// because each has a namespace of its own; different numbers are only kinder to
// the reader, and to a test that joins two.
func (s *site) subnet() string {
	h := fnv.New32a()
	h.Write([]byte(s.Name))
	return fmt.Sprintf("172.30.%d", 1+h.Sum32()%250)
}

// controlNet is the network of eth1, for ssh alone.
func (s *site) controlNet() string { return strings.Replace(s.subnet(), "172.30", "172.31", 1) }

func (s *site) gateway() string { return s.subnet() + ".1" }

// inNetwork is the command that runs argv in the site's network namespace.
func (s *site) inNetwork(argv []string) []string {
	return append([]string{"ip", "netns", "exec", s.netns()}, argv...)
}

func (s *site) makeNetwork(ctx context.Context) error {
	steps := [][]string{
		{"ip", "netns", "add", s.netns()},
		s.inNetwork([]string{"ip", "link", "set", "lo", "up"}),
		s.inNetwork([]string{"ip", "link", "add", "br0", "type", "bridge"}),
		s.inNetwork([]string{"ip", "addr", "add", s.gateway() + "/24", "dev", "br0"}),
		s.inNetwork([]string{"ip", "link", "set", "br0", "up"}),
		s.inNetwork([]string{"ip", "link", "add", "br1", "type", "bridge"}),
		s.inNetwork([]string{"ip", "addr", "add", s.controlNet() + ".1/24", "dev", "br1"}),
		s.inNetwork([]string{"ip", "link", "set", "br1", "up"}),
		// A pod's packets to another node's pods go by way of the gateway, which alone
		// knows what nodes there are; it is not to tell the nodes of a shorter way.
		s.inNetwork([]string{findTool("busybox"), "sysctl", "-w", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.br0.send_redirects=0"}),
	}
	for _, argv := range steps {
		if err := run(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}

func (s *site) makeKeys(ctx context.Context) error {
	for _, key := range []string{"ssh_key", "host_key"} {
		if err := run(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", filepath.Join(s.dir, key)); err != nil {
			return err
		}
	}
	return nil
}

// down ends every process of the site and removes all it had. It needs nothing
// but the name, so it also clears up after a start that was interrupted.
func (s *site) down() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := s.killAll(ctx)
	if _, statErr := os.Stat("/run/netns/" + s.netns()); statErr == nil {
		err = errors.Join(err, run(ctx, "ip", "netns", "delete", s.netns()))
	}
	if s.owner != nil {
		s.owner.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// killAll ends every process inside the namespace: the machines, their file
// servers and the control plane all live there.
func (s *site) killAll(ctx context.Context) error {
	if _, err := os.Stat("/run/netns/" + s.netns()); err != nil {
		return nil
	}
	for {
		out, err := output(ctx, "ip", "netns", "pids", s.netns())
		if err != nil {
			return err
		}
		alive := slices.DeleteFunc(strings.Fields(out), func(p string) bool {
			pid, err := strconv.Atoi(p)
			if err != nil || pid == os.Getpid() {
				return true
			}
			_, err = startTime(pid)
			return err != nil
		})
		if len(alive) == 0 {
			return nil
		}
		for _, p := range alive {
			pid, _ := strconv.Atoi(p)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes %v of %s do not end", alive, s.Name)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// collect takes down what processes that no longer run have left behind.
func (e Env) collect(ctx context.Context) {
	entries, _ := os.ReadDir(e.Run)
	for _, d := range entries {
		dir := filepath.Join(e.Run, d.Name())
		path := filepath.Join(dir, "owner.lock")
		if _, err := os.Stat(path); err != nil {
			continue
		}
		lock, err := lockFile(path, unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			continue
		}
		e.printf("clearing away %s, whose owner is gone", d.Name())
		s := site{Name: d.Name(), env: e, dir: dir}
		if err := s.down(); err != nil {
			e.printf("%s: %v", d.Name(), err)
		}
		lock.Close()
	}
}

// Remove takes down the VM or cluster of that name, also one whose start was
// interrupted. It is not an error if there is none.
func Remove(e Env, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	s := site{Name: name, env: e, dir: e.siteDir(name)}
	return errors.Join(s.down(), e.removeInterrupted())
}

// List names what runs, each with its kind.
func List(e Env) ([]string, error) {
	entries, err := os.ReadDir(e.Run)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var all []string
	for _, d := range entries {
		for _, kind := range []string{kindVM, kindCluster} {
			if _, err := openSite(e, d.Name(), kind); err == nil {
				all = append(all, d.Name()+" "+kind)
			}
		}
	}
	return all, err
}

const (
	kindVM      = "vm"
	kindCluster = "cluster"
)
