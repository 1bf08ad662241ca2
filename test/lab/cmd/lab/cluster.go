package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

const defaultName = "lab"

func clusterCommands() []command {
	return []command{
		{"deps", "install Debian packages and build the ZFS module (once, 4 min)", func(ctx context.Context, env lab.Env, _ []string) error {
			return env.InstallDeps(ctx)
		}},
		{"build", "build Kubernetes, containerd, etcd, CoreDNS and the CSI sidecars (once, 15 min)", func(ctx context.Context, env lab.Env, _ []string) error {
			return env.Build(ctx)
		}},
		{"images [dotmesh|sidecars|etcd]...", "pack images, print their archives", packImages},
		{"up [-name NAME] [FLAGS] [N]", "start a cluster of N nodes that stays; NAME is \"lab\" unless given, here and below", up},
		{"kubectl [-name NAME] ARGS...", "kubectl as administrator", kubectl},
		{"ssh [-name NAME] NODE COMMAND...", "run a shell command on node 1, 2 ...", onNode(ssh)},
		{"kill [-name NAME] NODE", "cut a node's power", onNode(func(ctx context.Context, n *lab.Node, _ []string) error { return n.PowerCut(ctx) })},
		{"start [-name NAME] NODE", "boot it again", onNode(func(ctx context.Context, n *lab.Node, _ []string) error { return n.Boot(ctx) })},
		{"cut [-name NAME] NODE", "take a node off the network", onNode(func(ctx context.Context, n *lab.Node, _ []string) error { return n.Cut(ctx) })},
		{"heal [-name NAME] NODE", "bring it back", onNode(func(ctx context.Context, n *lab.Node, _ []string) error { return n.Heal(ctx) })},
		{"node add [-name NAME]", "boot one node more, with a new name and an empty disk", addNode},
		{"node rm [-name NAME] NODE", "end a node for good; kubectl delete node is yours", onNode(func(ctx context.Context, n *lab.Node, _ []string) error { return n.Remove(ctx) })},
		{"disks [-name NAME]", "list the cloud disks, and which were detached while in use", disks},
		{"load [-name NAME] ARCHIVE...", "import image archives into every running node", load},
		{"logs [-name NAME] [LOG]", "list the logs of the host's side, or print one; a node's are in its /var/log", logs},
		{"netns [-name NAME] COMMAND...", "run a program of the host inside the cluster's network", netns},
		{"down [-name NAME]", "remove the cluster and everything it had, also after an interrupted up", func(_ context.Context, env lab.Env, args []string) error {
			name, _, err := nameFlag("down", args)
			if err != nil {
				return err
			}
			return lab.Remove(env, name)
		}},
		{"list", "what is running", func(_ context.Context, env lab.Env, _ []string) error {
			all, err := lab.List(env)
			for _, l := range all {
				fmt.Println(l)
			}
			return err
		}},
	}
}

// nameFlag takes a leading -name off, so that what follows may have flags of its own.
func nameFlag(command string, args []string) (name string, rest []string, err error) {
	name = defaultName
	if len(args) == 0 {
		return name, nil, nil
	}
	flagName, value, joined := strings.Cut(args[0], "=")
	switch {
	case strings.TrimLeft(flagName, "-") != "name" || !strings.HasPrefix(flagName, "-"):
		return name, args, nil
	case joined:
		return value, args[1:], nil
	case len(args) < 2:
		return "", nil, fmt.Errorf("%s: -name wants a name", command)
	}
	return args[1], args[2:], nil
}

func openCluster(env lab.Env, command string, args []string) (*lab.Cluster, []string, error) {
	name, rest, err := nameFlag(command, args)
	if err != nil {
		return nil, nil, err
	}
	c, err := lab.Open(env, name)
	return c, rest, err
}

func packImages(ctx context.Context, env lab.Env, args []string) error {
	if len(args) == 0 {
		args = []string{"dotmesh", "sidecars", "etcd"}
	}
	for _, name := range args {
		archive, err := packImage(ctx, env, name)
		if err != nil {
			return err
		}
		fmt.Println(archive)
	}
	return nil
}

func packImage(ctx context.Context, env lab.Env, name string) (string, error) {
	switch name {
	case "dotmesh":
		return env.DotmeshArchive(ctx, lab.Build{})
	case "sidecars":
		return env.SidecarsArchive()
	case "etcd":
		return env.EtcdArchive()
	}
	return "", fmt.Errorf("unknown image %q: want dotmesh, sidecars or etcd", name)
}

func up(ctx context.Context, env lab.Env, args []string) error {
	fs := flag.NewFlagSet("up", flag.ContinueOnError)
	name := fs.String("name", defaultName, "of the cluster")
	mem := fs.Int("mem", 0, "MiB of memory per node")
	volatile := fs.Bool("volatile", false, "disks that lose what was not flushed")
	cloud := fs.Bool("cloud-disk", false, "a CSI driver for cloud-like disks, with the StorageClasses standard and standard-immediate")
	var images list
	fs.Var(&images, "image", "archive that the nodes shall have, or dotmesh, sidecars or etcd; may be repeated")
	if err := fs.Parse(args); err != nil {
		return err
	}
	nodes := 1
	if fs.NArg() > 0 {
		n, err := strconv.Atoi(fs.Arg(0))
		if err != nil {
			return fmt.Errorf("up: %q is not a number of nodes", fs.Arg(0))
		}
		nodes = n
	}
	var archives []string
	for _, i := range images {
		if !strings.Contains(i, "/") {
			archive, err := packImage(ctx, env, i)
			if err != nil {
				return err
			}
			i = archive
		}
		archives = append(archives, i)
	}
	if err := env.Build(ctx); err != nil {
		return err
	}
	_, err := lab.Start(ctx, env, lab.Config{Name: *name, Nodes: nodes, MemMB: *mem, Images: archives, Detach: true, VolatileDisks: *volatile, CloudDisk: *cloud})
	return err
}

func attached() lab.Streams { return lab.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr} }

func kubectl(ctx context.Context, env lab.Env, args []string) error {
	c, rest, err := openCluster(env, "kubectl", args)
	if err != nil {
		return err
	}
	return c.KubectlAttached(ctx, attached(), rest...)
}

func onNode(do func(ctx context.Context, n *lab.Node, rest []string) error) func(context.Context, lab.Env, []string) error {
	return func(ctx context.Context, env lab.Env, args []string) error {
		c, rest, err := openCluster(env, "", args)
		if err != nil {
			return err
		}
		if len(rest) == 0 {
			return errors.New("which node? give its number")
		}
		name := "node" + strings.TrimPrefix(rest[0], "node")
		for _, n := range c.Nodes() {
			if n.Name() == name {
				return do(ctx, n, rest[1:])
			}
		}
		return fmt.Errorf("%s has no %s", c.Name(), name)
	}
}

func addNode(ctx context.Context, env lab.Env, args []string) error {
	c, _, err := openCluster(env, "node add", args)
	if err != nil {
		return err
	}
	n, err := c.AddNode(ctx)
	if err != nil {
		return err
	}
	fmt.Println(n.Name())
	return n.WaitReady(ctx, 5*time.Minute)
}

func disks(_ context.Context, env lab.Env, args []string) error {
	c, _, err := openCluster(env, "disks", args)
	if err != nil {
		return err
	}
	all, err := c.Disks().List()
	if err != nil {
		return err
	}
	for _, d := range all {
		fmt.Println(d.ID, d.Name, d.Bytes, d.Node)
	}
	misuses, err := c.Disks().Misuses()
	for _, m := range misuses {
		fmt.Printf("%s detached from %s while in use at %s: %s\n", m.Disk, m.Node, m.Time.Format(time.RFC3339), strings.Join(m.Users, ", "))
	}
	return err
}

func ssh(ctx context.Context, n *lab.Node, rest []string) error {
	return n.Exec(ctx, strings.Join(rest, " "), attached())
}

func load(ctx context.Context, env lab.Env, args []string) error {
	c, rest, err := openCluster(env, "load", args)
	if err != nil {
		return err
	}
	for _, archive := range rest {
		if err := c.LoadImage(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}

func logs(_ context.Context, env lab.Env, args []string) error {
	c, rest, err := openCluster(env, "logs", args)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(c.Dir(), "*.log"))
	if err != nil {
		return err
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".log")
		if len(rest) == 0 {
			fmt.Println(name)
			continue
		}
		if name != rest[0] {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(b)
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("no log %q", rest[0])
	}
	return nil
}

func netns(ctx context.Context, env lab.Env, args []string) error {
	c, rest, err := openCluster(env, "netns", args)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return errors.New("netns: which program?")
	}
	cmd := c.Command(ctx, rest...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
