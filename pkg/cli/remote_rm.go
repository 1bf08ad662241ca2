package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newRemoteRmCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME",
		Short: "Forget a remote and its API key",
		Args:  cobra.ExactArgs(1),
		RunE:  s.run(func(_ context.Context, args []string) error { return runRemoteRm(s, args[0]) }),
	}
}

func runRemoteRm(s *session, name string) error {
	cfg, err := loadConfig(s.configFile())
	if err != nil {
		return err
	}
	if _, _, err := cfg.lookup(name); err != nil {
		return err
	}
	delete(cfg.Remotes, name)
	if cfg.Current == name {
		cfg.Current = ""
	}
	if err := cfg.save(s.configFile()); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "Removed remote: %s\n", name)
	if cfg.Current == "" && len(cfg.Remotes) > 0 {
		fmt.Fprintf(s.Err, "No remote is selected now: run dm remote switch NAME (known: %s).\n", cfg.names())
	}
	return nil
}
