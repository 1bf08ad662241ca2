package cli

import (
	"context"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
)

type versionOptions struct {
	outputOptions
	client bool
}

func (o *versionOptions) addFlags(flags *pflag.FlagSet) {
	o.outputOptions.addFlags(flags)
	flags.BoolVar(&o.client, "client", false, "only dm's own version; asks no server")
}

// versions is what dm version shows.
type versions struct {
	Client string          `json:"client"`
	Server *serverVersions `json:"server,omitempty"`
}

type serverVersions struct {
	Remote      string `json:"remote"`
	Version     string `json:"version"`
	ZFSModule   string `json:"zfsModule,omitempty"`
	ZFSUserland string `json:"zfsUserland,omitempty"`
}

func newVersionCommand(s *session) *cobra.Command {
	var o versionOptions
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of dm and of the server",
		Args:  noArgs,
		RunE:  s.run(func(ctx context.Context, _ []string) error { return runVersion(ctx, s, o) }),
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// runVersion shows dm's version even when the server does not answer, and then
// fails, because half of what was asked is missing.
func runVersion(ctx context.Context, s *session, o versionOptions) error {
	shown := versions{Client: s.version}
	var failure error
	if !o.client {
		shown.Server, failure = askVersion(ctx, s)
	}
	err := o.show(s.Out, view{object: shown, names: []string{shown.Client}, table: func(w io.Writer) {
		rows := [][]string{{"dm:", shown.Client}}
		if v := shown.Server; v != nil {
			rows = append(rows, []string{"server:", fmt.Sprintf("%s (remote %s)", v.Version, v.Remote)},
				[]string{"ZFS module:", v.ZFSModule}, []string{"ZFS userland:", v.ZFSUserland})
		}
		table(w, rows...)
	}})
	if err != nil {
		return err
	}
	return failure
}

func askVersion(ctx context.Context, s *session) (*serverVersions, error) {
	name, _, err := s.currentRemote()
	if err != nil {
		return nil, err
	}
	c, err := s.connect()
	if err != nil {
		return nil, err
	}
	answer, err := c.Server.GetVersion(ctx, connect.NewRequest(&dotmeshv1.GetVersionRequest{}))
	if err != nil {
		return nil, err
	}
	v := answer.Msg
	return &serverVersions{Remote: name, Version: v.GetVersion(), ZFSModule: v.GetZfsModule(), ZFSUserland: v.GetZfsUserland()}, nil
}
