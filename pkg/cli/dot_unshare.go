package cli

import (
	"context"

	"github.com/spf13/cobra"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
)

func newDotUnshareCommand(s *session) *cobra.Command {
	var o shareOptions
	cmd := &cobra.Command{
		Use:   "unshare DOT NAMESPACE… | --all",
		Short: "Take back what dm dot share gave",
		Long: `Take back what dm dot share gave. --all ends the sharing with every namespace;
namespaces that were shared with by name stay.

Volumes that use the dot already go on doing so.`,
		Args: cobra.MinimumNArgs(1),
		RunE: s.run(func(ctx context.Context, args []string) error {
			return runUnshare(ctx, s, o, args[0], args[1:])
		}),
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runUnshare(ctx context.Context, s *session, o shareOptions, arg string, namespaces []string) error {
	request := &dotmeshv1.ShareDotRequest{Unshare: namespaces}
	if o.all {
		none := false
		request.All = &none
	}
	return changeShares(ctx, s, o, arg, request, namespaces)
}
