package cli

import (
	"context"
	"io"
	"strings"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

type commitOptions struct {
	outputOptions
	branch   string
	message  string
	metadata []string
}

func (o *commitOptions) addFlags(flags *pflag.FlagSet) {
	o.outputOptions.addFlags(flags)
	flags.StringVarP(&o.branch, "branch", "b", dot.MasterBranch.String(), "branch to commit")
	flags.StringVarP(&o.message, "message", "m", "", "what the commit is (required)")
	flags.StringArrayVarP(&o.metadata, "data", "d", nil, "KEY=VALUE to keep with the commit; may be repeated")
}

func newCommitCommand(s *session) *cobra.Command {
	var o commitOptions
	cmd := &cobra.Command{
		Use:     "commit DOT -m MESSAGE",
		Short:   "Commit what is in a dot now, all its subdots at one moment",
		Example: `  dm commit shop -m "before the upgrade" -d release=1.4 -d by=ann`,
		Args:    cobra.ExactArgs(1),
		RunE:    s.run(func(ctx context.Context, args []string) error { return runCommit(ctx, s, o, args[0]) }),
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runCommit(ctx context.Context, s *session, o commitOptions, arg string) error {
	request, err := o.request(arg)
	if err != nil {
		return err
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	answer, err := c.Dots.Commit(ctx, connect.NewRequest(request))
	if dot.CodeOf(err) == dot.CodeUnavailable && err != nil && ctx.Err() == nil {
		// The answer may have been lost after the commit was made; the same key
		// finds that commit instead of making a second one.
		answer, err = c.Dots.Commit(ctx, connect.NewRequest(request))
	}
	if err != nil {
		return err
	}
	commit := answer.Msg.GetCommit()
	return o.show(s.Out, view{
		object: commit, names: []string{commit.GetId()},
		table: func(w io.Writer) { commitText(w, commit) },
	})
}

// request checks everything that can be wrong before the server is asked.
func (o commitOptions) request(arg string) (*dotmeshv1.CommitRequest, error) {
	name, err := parseDot(arg)
	if err != nil {
		return nil, err
	}
	branch, err := dot.ParseBranchName(o.branch)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(o.message) == "" {
		return nil, dot.Invalid("a commit needs a message: dm commit %s -m MESSAGE", arg)
	}
	if err := dot.CheckMessage(o.message); err != nil {
		return nil, err
	}
	metadata, err := parseMetadata(o.metadata)
	if err != nil {
		return nil, err
	}
	return &dotmeshv1.CommitRequest{
		Dot: name, Branch: branch.String(), Message: o.message, Metadata: metadata,
		IdempotencyKey: uuid.NewString(),
	}, nil
}

func parseMetadata(pairs []string) (dot.Metadata, error) {
	metadata := dot.Metadata{}
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if !found {
			return nil, dot.Invalid("metadata %q is not KEY=VALUE", pair)
		}
		if _, twice := metadata[key]; twice {
			return nil, dot.Invalid("metadata key %q is given twice", key)
		}
		metadata[key] = value
	}
	return metadata, metadata.Check()
}
