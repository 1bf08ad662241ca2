package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mostMachines is how many a cluster can have had: each has a number in its
// address and its pods', which is not given again.
const mostMachines = 200

// AddNode boots one node more, as the cluster's first ones were made: with an
// empty disk, and a name and identities that none had before. It returns when
// kubelet has been started; see [Node.WaitReady].
func (c *Cluster) AddNode(ctx context.Context) (*Node, error) {
	slots, err := c.site.env.acquireSlots(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer closeAll(slots)
	return c.addNode(ctx, func(number int) error { return c.site.keepSlot(number, slots[0]) })
}

// addNode boots a node after slot has given its machine one.
func (c *Cluster) addNode(ctx context.Context, slot func(number int) error) (*Node, error) {
	s := c.site
	disk, err := s.env.nodeDisk(ctx, s.Images)
	if err != nil {
		return nil, err
	}
	var m *machine
	err = s.changeMachines(func() error {
		if s.Pattern.Number == mostMachines {
			return fmt.Errorf("%s has had %d nodes, and there are no addresses for more", s.Name, mostMachines)
		}
		if err := s.env.checkRoom(s.Pattern.MemMB+256, 1024); err != nil {
			return err
		}
		m = s.newMachine()
		return nil
	})
	if err != nil {
		return nil, err
	}
	n := &Node{cluster: c, machine: m}
	authority, err := openAuthority(s.pki(), s.api())
	if err == nil {
		err = errors.Join(authority.node(m.name()), slot(m.Number))
	}
	if err == nil {
		err = m.first(ctx, disk)
	}
	if err != nil {
		return nil, errors.Join(err, n.Remove(context.WithoutCancel(ctx)))
	}
	return n, nil
}

// Remove ends the node for good, as deleting a machine in a cloud does: at once,
// with its disk; its cloud disks are free. Kubernetes is not told.
func (n *Node) Remove(ctx context.Context) error {
	err := n.end(ctx)
	n.cluster.site.stop(syscall.SIGKILL, slotName(n.machine.Number))
	return err
}

// Replace is Remove, and AddNode in what the removed machine leaves of the host's
// room: nobody else gets it meanwhile.
func (n *Node) Replace(ctx context.Context) (*Node, error) {
	if err := n.end(ctx); err != nil {
		return nil, err
	}
	s := n.cluster.site
	return n.cluster.addNode(ctx, func(number int) error {
		return os.Rename(s.pidFile(slotName(n.machine.Number)), s.pidFile(slotName(number)))
	})
}

// end is Remove, but that the machine's slot stays taken.
func (n *Node) end(ctx context.Context) error {
	m, s := n.machine, n.cluster.site
	m.powerCut()
	err := s.changeMachines(func() error {
		s.Machines = slices.DeleteFunc(s.Machines, func(other *machine) bool { return other.Number == m.Number })
		return nil
	})
	if err != nil {
		return err
	}
	var errs []error
	if s.CloudDisk {
		errs = append(errs, s.disks().Forget(ctx, m.name()))
	}
	for _, tap := range []string{m.tap(), m.controlTap()} {
		if _, err := output(ctx, s.inNetwork([]string{"ip", "link", "show", tap})...); err == nil {
			errs = append(errs, run(ctx, s.inNetwork([]string{"ip", "link", "delete", tap})...))
		}
	}
	errs = append(errs, run(ctx, s.inNetwork([]string{"ip", "route", "flush", m.pods()})...), os.RemoveAll(m.dir()))
	return errors.Join(errs...)
}

// first boots a machine that has never been.
func (m *machine) first(ctx context.Context, disk string) error {
	begin := time.Now()
	route := []string{"ip", "route", "add", m.pods(), "via", m.address(), "onlink", "dev", "br0"}
	if err := errors.Join(m.prepare(ctx, disk), run(ctx, m.site.inNetwork(route)...)); err != nil {
		return err
	}
	if err := m.boot(ctx); err != nil {
		return err
	}
	m.site.env.printf("%s of %s has booted (%v)", m.name(), m.site.Name, time.Since(begin).Round(time.Second))
	return nil
}

// pods is the network of the node's pods.
func (m *machine) pods() string { return fmt.Sprintf("10.244.%d.0/24", m.Number) }

// newMachine adds the next one to the site's.
func (s *site) newMachine() *machine {
	s.Pattern.Number++
	m := s.Pattern
	m.site = s
	s.Machines = append(s.Machines, &m)
	return &m
}

// machines are those that there are now.
func (s *site) machines() []*machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.Machines)
}

// changeMachines lets change alter Machines and Pattern, as they are now in any
// process's view, for all of them.
func (s *site) changeMachines(change func() error) error {
	lock, err := lockFile(filepath.Join(s.dir, "machines.lock"), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer lock.Close()
	now, err := openSite(s.env, s.Name, s.Kind)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Machines, s.Pattern = now.Machines, now.Pattern
	for _, m := range s.Machines {
		m.site = s
	}
	if err := change(); err != nil {
		return err
	}
	return s.save()
}

func slotName(number int) string { return fmt.Sprintf("slot%d", number) }

// keepSlot makes a slot the machine's until it is removed, also while it has no
// power.
func (s *site) keepSlot(number int, slot *os.File) error {
	return s.start(daemon{name: slotName(number), argv: []string{"sleep", "infinity"}, files: []*os.File{slot}})
}
