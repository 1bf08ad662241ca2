package cli

import (
	"context"
	"regexp"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

type shareOptions struct {
	outputOptions
	all bool
}

func (o *shareOptions) addFlags(flags *pflag.FlagSet) {
	o.outputOptions.addFlags(flags)
	flags.BoolVar(&o.all, "all", false, "every Kubernetes namespace, also ones that are made later")
}

func newDotShareCommand(s *session) *cobra.Command {
	var o shareOptions
	cmd := &cobra.Command{
		Use:   "share DOT NAMESPACE… | --all",
		Short: "Let PersistentVolumeClaims of other Kubernetes namespaces use a dot",
		Args:  cobra.MinimumNArgs(1),
		RunE: s.run(func(ctx context.Context, args []string) error {
			return runShare(ctx, s, o, args[0], args[1:])
		}),
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runShare(ctx context.Context, s *session, o shareOptions, arg string, namespaces []string) error {
	request := &dotmeshv1.ShareDotRequest{Share: namespaces}
	if o.all {
		request.All = &o.all
	}
	return changeShares(ctx, s, o, arg, request, namespaces)
}

// changeShares sends what share and unshare ask for.
func changeShares(ctx context.Context, s *session, o shareOptions, arg string, request *dotmeshv1.ShareDotRequest, namespaces []string) error {
	name, err := parseDot(arg)
	if err != nil {
		return err
	}
	if err := checkNamespaces(namespaces); err != nil {
		return err
	}
	if o.all == (len(namespaces) > 0) {
		return dot.Invalid("say with which Kubernetes namespaces, or --all, and not both")
	}
	request.Dot = name
	c, err := s.connect()
	if err != nil {
		return err
	}
	answer, err := c.Dots.ShareDot(ctx, connect.NewRequest(request))
	if err != nil {
		return err
	}
	return o.showDot(s.Out, answer.Msg.GetDot())
}

// kubeNamespace is the grammar of namespaces' names (RFC 1123, "label").
var kubeNamespace = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func checkNamespaces(names []string) error {
	for _, name := range names {
		if !kubeNamespace.MatchString(name) {
			return dot.Invalid("%q is not the name of a Kubernetes namespace: use 1 to 63 of a-z, 0-9 and \"-\"", name)
		}
	}
	return nil
}
