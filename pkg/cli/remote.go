package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func newRemoteCommand(s *session) *cobra.Command {
	var o outputOptions
	cmd := &cobra.Command{
		Use:   "remote",
		Short: "Say which dotmesh clusters dm knows; alone, list them",
		Args:  noArgs,
		RunE:  s.run(func(context.Context, []string) error { return runRemoteList(s, o) }),
	}
	o.addFlags(cmd.Flags())
	cmd.AddCommand(newRemoteAddCommand(s), newRemoteListCommand(s), newRemoteSwitchCommand(s), newRemoteRmCommand(s))
	return cmd
}
