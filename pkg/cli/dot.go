package cli

import "github.com/spf13/cobra"

func newDotCommand(s *session) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dot",
		Short: "Say who may use a dot, or delete one",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDotShareCommand(s), newDotUnshareCommand(s), newDotDeleteCommand(s))
	return cmd
}
