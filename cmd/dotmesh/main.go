// Command dotmesh runs one of the parts of a dotmesh cluster; its subcommands
// say which. What differs from pod to pod is taken from the environment, where no flag
// gives it: the node's name from $NODE_NAME, else the host, a server's address from
// $POD_IP, and the operator's pod, whose image is that of all, from $POD_NAME.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	klog.Flush()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "dotmesh:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "dotmesh",
		Short:         "Git for data: volumes with branches and commits, on ZFS, for Kubernetes",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
	}
	addLogFlags(root)
	root.AddCommand(newServerCommand(), newNodeCommand(), newControllerCommand(), newOperatorCommand(), newHolderCommand(), newCertsCommand(), newEtcdSnapshotCommand(), newEtcdJoinCommand())
	return root
}

// addLogFlags offers klog's verbosity and nothing else of its many flags.
func addLogFlags(root *cobra.Command) {
	all := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(all)
	for _, name := range []string{"v", "vmodule"} {
		root.PersistentFlags().AddGoFlag(all.Lookup(name))
	}
}
