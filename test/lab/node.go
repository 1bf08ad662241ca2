package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// Node is a cluster's machine.
type Node struct {
	cluster *Cluster
	machine *machine
}

// Node returns the node of that number; there must be one. Those that a cluster
// starts with have the numbers from 1 on.
func (c *Cluster) Node(number int) *Node {
	all := c.Nodes()
	return all[slices.IndexFunc(all, func(n *Node) bool { return n.machine.Number == number })]
}

// Name is the node's name in Kubernetes and its host name.
func (n *Node) Name() string { return n.machine.name() }

// Address is the node's IP address on the cluster's network.
func (n *Node) Address() string { return n.machine.address() }

// Running says whether the machine has power.
func (n *Node) Running() bool { return n.machine.running() }

// SSH runs a shell command as root and returns its standard output; the error is
// an *[ExitError] if it ran and failed. It works on a node that is cut off too.
func (n *Node) SSH(ctx context.Context, command string) (string, error) {
	return n.machine.output(ctx, command)
}

// Exec is SSH with streams.
func (n *Node) Exec(ctx context.Context, command string, io Streams) error {
	return n.machine.exec(ctx, command, io)
}

// PowerCut stops the node at once. What lies on its disk stays (see
// [Config.VolatileDisks] for what that means), memory and mounts are gone.
func (n *Node) PowerCut(context.Context) error {
	n.machine.powerCut()
	return nil
}

// Boot starts the node after a PowerCut, or after it stopped by itself. It returns
// when kubelet has been started; see WaitReady.
func (n *Node) Boot(ctx context.Context) error {
	return n.cluster.site.bootMachine(ctx, n.machine)
}

// Cut takes the node off the cluster's network; SSH goes another way.
func (n *Node) Cut(ctx context.Context) error { return n.link(ctx, "down") }

// Heal undoes Cut.
func (n *Node) Heal(ctx context.Context) error { return n.link(ctx, "up") }

func (n *Node) link(ctx context.Context, state string) error {
	return run(ctx, n.cluster.site.inNetwork([]string{"ip", "link", "set", n.machine.tap(), state})...)
}

// WaitReady waits for Kubernetes to call the node Ready. After a boot the old
// state can still be there for up to 40 s; compare bootID if that matters.
func (n *Node) WaitReady(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		left := fmt.Sprintf("--timeout=%ds", int(limit.Seconds()))
		_, err := n.cluster.Kubectl(ctx, "wait", "--for=condition=Ready", left, "node/"+n.Name())
		if err == nil {
			return nil
		}
		if !n.Running() {
			return fmt.Errorf("%s stopped: %s", n.Name(), n.Console())
		}
		if sleep(ctx, time.Second) != nil {
			kubelet, _ := n.SSH(context.WithoutCancel(ctx), "tail -n 20 /var/log/kubelet.log")
			return fmt.Errorf("%s is not Ready after %v: %w\nkubelet: %s", n.Name(), limit, err, kubelet)
		}
	}
}

// Console is the end of the serial console's output since the last boot.
func (n *Node) Console() string { return n.machine.site.tail(n.machine.vm()) }

// ConsoleFile is the whole of it.
func (n *Node) ConsoleFile() string {
	return filepath.Join(n.machine.site.dir, n.machine.vm()+".log")
}
