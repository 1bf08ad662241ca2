package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newRemoteSwitchCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "switch NAME",
		Short: "Use a remote from now on",
		Args:  cobra.ExactArgs(1),
		RunE:  s.run(func(_ context.Context, args []string) error { return runRemoteSwitch(s, args[0]) }),
	}
}

func runRemoteSwitch(s *session, name string) error {
	cfg, err := loadConfig(s.configFile())
	if err != nil {
		return err
	}
	if _, _, err := cfg.lookup(name); err != nil {
		return err
	}
	cfg.Current = name
	if err := cfg.save(s.configFile()); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "Current remote: %s\n", name)
	return nil
}
