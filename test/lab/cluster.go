package lab

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

//go:embed assets/kubernetes.sh
var kubernetesScript string

// Config describes a cluster. Only Name is needed.
type Config struct {
	Name  string
	Nodes int // default 1
	MemMB int // per node; default: LAB_MEM, or 2560
	// Images are archives (as `docker save` writes) that every node has from its
	// first boot on. The lab's own ([Env.BaseImages]) are always among them.
	Images []string
	// Detach keeps the cluster when this process ends, until Remove.
	Detach bool
	// VolatileDisks puts a write cache in front of each node's disk that a power cut
	// empties: what the guest had not flushed is lost. Without it the host's page
	// cache keeps such writes, as a disk with a battery does.
	VolatileDisks bool
	// CloudDisk installs a CSI driver whose volumes are disks of a cloud ([Cluster.Disks]),
	// with the StorageClasses "standard" (WaitForFirstConsumer) and "standard-immediate".
	// VolatileDisks does not concern them.
	CloudDisk bool
}

// Cluster is a running Kubernetes cluster: control plane, DNS, the VolumeSnapshot
// CRDs and snapshot-controller on the host, and nodes named node1, node2 … It is
// safe for use by several goroutines.
type Cluster struct {
	site *site
}

// Start returns when all nodes are Ready. ctx bounds the start only. On error
// nothing is left behind, but the error holds the end of the log that matters.
func Start(ctx context.Context, e Env, cfg Config) (*Cluster, error) {
	if cfg.Nodes == 0 {
		cfg.Nodes = 1
	}
	if cfg.Nodes < 1 || cfg.Nodes > 9 {
		return nil, fmt.Errorf("%d nodes: want 1 to 9", cfg.Nodes)
	}
	if cfg.MemMB == 0 {
		cfg.MemMB = 2560
		if e.MemMB != 0 {
			cfg.MemMB = e.MemMB
		}
	}
	if err := errors.Join(e.checkFree(cfg.Name), e.checkTools(clusterTools()...), e.checkBuilt()); err != nil {
		return nil, err
	}
	disk, err := e.nodeDisk(ctx, cfg.Images)
	if err != nil {
		return nil, err
	}
	slots, err := e.acquireSlots(ctx, cfg.Nodes)
	if err != nil {
		return nil, err
	}
	if err := e.checkRoom(cfg.Nodes*(cfg.MemMB+256)+1024, 4096); err != nil {
		closeAll(slots)
		return nil, err
	}
	s := &site{
		Name: cfg.Name, Kind: kindCluster, Detached: cfg.Detach, Images: cfg.Images, CloudDisk: cfg.CloudDisk,
		Pattern: machine{MemMB: cfg.MemMB, CPUs: e.cpus(cfg.Nodes), Volatile: cfg.VolatileDisks, Script: kubernetesScript},
	}
	for range cfg.Nodes {
		s.newMachine()
	}
	c := &Cluster{site: s}
	if err := newSite(ctx, e, s, slots); err != nil {
		return nil, err
	}
	if err := c.start(ctx, disk); err != nil {
		return nil, errors.Join(err, c.site.down())
	}
	return c, nil
}

// cpus is how many processors each of some machines has. Emulated ones are threads of the
// host: where there are more of them than the host has, they wait for each other's
// locks more than they compute.
func (e Env) cpus(machines int) int {
	switch {
	case e.CPUs != 0:
		return e.CPUs
	case machines > 1:
		return 1
	}
	return 2
}

// start boots the nodes beside the control plane.
func (c *Cluster) start(ctx context.Context, disk string) error {
	s := c.site
	if err := s.makePKI(); err != nil {
		return err
	}
	if err := s.prepareCloudDisk(ctx); err != nil {
		return err
	}
	begin := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range s.Machines {
		group.Go(func() error { return m.first(ctx, disk) })
	}
	group.Go(func() error {
		if err := s.controlPlane(ctx); err != nil {
			return err
		}
		s.env.printf("control plane of %s is up (%v)", s.Name, time.Since(begin).Round(time.Second))
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	for _, n := range c.Nodes() {
		if err := n.WaitReady(context.WithoutCancel(ctx), 5*time.Minute); err != nil {
			return err
		}
	}
	s.env.printf("%s is ready (%v)", s.Name, time.Since(begin).Round(time.Second))
	return nil
}

// Open finds a cluster that was started with Detach.
func Open(e Env, name string) (*Cluster, error) {
	s, err := openSite(e, name, kindCluster)
	if err != nil {
		return nil, err
	}
	return &Cluster{site: s}, nil
}

// Name is what Open and Remove take.
func (c *Cluster) Name() string { return c.site.Name }

// Dir holds the cluster's logs (*.log) and certificates (pki/).
func (c *Cluster) Dir() string { return c.site.dir }

// Kubeconfig is the administrator's. Its server is reachable inside the cluster's
// network namespace only: see Kubectl and Command.
func (c *Cluster) Kubeconfig() string { return c.site.pkiFile("admin.kubeconfig") }

// Command is a host program to be run inside the cluster's network namespace.
func (c *Cluster) Command(ctx context.Context, argv ...string) *exec.Cmd {
	argv = c.site.inNetwork(argv)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Kubectl runs kubectl as administrator and returns its standard output.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) ([]byte, error) {
	return c.KubectlInput(ctx, nil, args...)
}

// KubectlInput is Kubectl with a standard input.
func (c *Cluster) KubectlInput(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "ip", c.site.kubectl(args...)[1:]...)
	cmd.WaitDelay = 5 * time.Second
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errOut
	err := cmd.Run()
	if err == nil {
		return out.Bytes(), nil
	}
	var exit *exec.ExitError
	if ctx.Err() == nil && errors.As(err, &exit) {
		err = &ExitError{Code: exit.ExitCode(), Stderr: errOut.String(), Command: "kubectl " + strings.Join(args, " ")}
	}
	return out.Bytes(), err
}

// KubectlAttached is Kubectl with the caller's own streams.
func (c *Cluster) KubectlAttached(ctx context.Context, io Streams, args ...string) error {
	cmd := exec.CommandContext(ctx, "ip", c.site.kubectl(args...)[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = io.In, io.Out, io.Err
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return &ExitError{Code: exit.ExitCode(), Command: "kubectl " + strings.Join(args, " ")}
	}
	return err
}

// Apply is kubectl apply of YAML.
func (c *Cluster) Apply(ctx context.Context, yaml []byte) error {
	_, err := c.KubectlInput(ctx, bytes.NewReader(yaml), "apply", "--server-side", "-f", "-")
	return err
}

// LoadImage imports an image archive into every running node, unless all had it from
// their first boot on: what the lab packs is named by its content. A node that boots
// later keeps it: containers' storage survives a power cut.
func (c *Cluster) LoadImage(ctx context.Context, archive string) error {
	archive, err := filepath.Abs(archive)
	if err != nil {
		return err
	}
	if filepath.Dir(archive) == c.site.env.imageDir() && slices.Contains(c.site.Images, archive) {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range c.site.machines() {
		group.Go(func() error {
			return m.exec(ctx, "ctr -n k8s.io images import "+quote("/host"+archive), Streams{})
		})
	}
	return group.Wait()
}

// Nodes are all nodes, in order.
func (c *Cluster) Nodes() []*Node {
	var all []*Node
	for _, m := range c.site.machines() {
		all = append(all, &Node{cluster: c, machine: m})
	}
	return all
}

// Down removes the cluster and everything it had. Its error is ErrMisused if a
// cloud disk was ever detached from a node that used it.
func (c *Cluster) Down(context.Context) error {
	misuses, err := c.Disks().Misuses()
	for _, m := range misuses {
		err = errors.Join(err, fmt.Errorf("%w: %s on %s, by %s", ErrMisused, m.Disk, m.Node, strings.Join(m.Users, ", ")))
	}
	return errors.Join(err, c.site.down())
}
