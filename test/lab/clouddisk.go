package lab

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/dotmesh-io/dotmesh-csi/test/lab/clouddisk"
)

//go:embed assets/clouddisk.yaml
var cloudDiskManifest []byte

// ErrMisused means that a cloud disk was detached while its node used it.
var ErrMisused = errors.New("a disk was detached in use")

// Disks are the disks of a cluster with [Config.CloudDisk]. What is attached to a
// node with power can be detached inside the cluster's network namespace alone,
// which is what the driver does; what they are and how they were misused, anybody
// can read.
func (c *Cluster) Disks() *clouddisk.Disks { return c.site.disks() }

func (s *site) disks() *clouddisk.Disks {
	return &clouddisk.Disks{Dir: filepath.Join(s.dir, "disks"), Machine: s.diskMachine}
}

// diskMachine looks at what machines there are now: another process may add and
// remove them.
func (s *site) diskMachine(node string) (clouddisk.Machine, error) {
	now, err := openSite(s.env, s.Name, s.Kind)
	if err != nil {
		return nil, err
	}
	for _, m := range now.Machines {
		if m.name() == node {
			return diskMachine{m}, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", node, clouddisk.ErrNoNode)
}

type diskMachine struct{ machine *machine }

func (d diskMachine) Running() bool   { return d.machine.running() }
func (d diskMachine) Monitor() string { return d.machine.monitor() }

func (d diskMachine) Users(ctx context.Context, id string) ([]string, error) {
	return clouddisk.AskUsers(ctx, d.machine.control(), id)
}

func (s *site) driver() string { return filepath.Join(s.dir, "clouddisk") }

// nodeDriver is the driver's program as the nodes see it, or "".
func (s *site) nodeDriver() string {
	if !s.CloudDisk {
		return ""
	}
	return "/host" + s.driver()
}

// prepareCloudDisk builds the driver, if it is wanted, before the nodes boot.
func (s *site) prepareCloudDisk(ctx context.Context) error {
	if !s.CloudDisk {
		return nil
	}
	repo, err := Repository()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", s.driver(), "./test/lab/cmd/clouddisk")
	cmd.Dir, cmd.Env = repo, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the cloud disk driver: %w\n%s", err, out)
	}
	return os.Mkdir(s.disks().Dir, 0o700)
}

// startCloudDisk starts the driver's controller and its sidecars beside the control
// plane: only the host reaches the machines' monitors.
func (s *site) startCloudDisk(ctx context.Context) error {
	if !s.CloudDisk {
		return nil
	}
	manifest := filepath.Join(s.dir, "clouddisk.yaml")
	if err := os.WriteFile(manifest, cloudDiskManifest, 0o644); err != nil {
		return err
	}
	if err := run(ctx, s.kubectl("apply", "--server-side", "-f", manifest)...); err != nil {
		return err
	}
	socket := filepath.Join(s.dir, "clouddisk.sock")
	sidecar := func(name string, flags ...string) daemon {
		argv := []string{s.bin(name), "--csi-address=" + socket, "--kubeconfig=" + s.pkiFile("admin.kubeconfig"), "--timeout=60s", "--retry-interval-max=10s"}
		return daemon{name: "clouddisk-" + name, argv: append(argv, flags...)}
	}
	for _, d := range []daemon{
		{name: "clouddisk", argv: []string{"env", "LAB_RUN=" + s.env.Run, "LAB_CACHE=" + s.env.Cache, s.driver(), "controller", s.Name, socket}},
		sidecar("csi-provisioner", "--default-fstype=ext4"),
		sidecar("csi-attacher"),
		sidecar("csi-resizer"),
	} {
		if err := s.start(d); err != nil {
			return err
		}
	}
	return nil
}
