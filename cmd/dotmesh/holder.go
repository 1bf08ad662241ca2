package main

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
)

func newHolderCommand() *cobra.Command {
	var settingsDir string
	cmd := &cobra.Command{
		Use:   "holder",
		Short: "Keep a pod's volumes attached to its node, and do nothing else",
		Long: `Wait for a signal. A pod that runs this pins its PersistentVolumeClaim to the
node while the server that keeps a pool on it is restarted or replaced.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return logged(cmd.Context(), "holder", settingsDir, hold)
		},
	}
	addSettingsFlag(cmd.Flags(), &settingsDir)
	return cmd
}

func hold(ctx context.Context) error {
	klog.FromContext(ctx).Info("holding")
	<-ctx.Done()
	return nil
}
