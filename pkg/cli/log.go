package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

type logOptions struct {
	outputOptions
	branch  string
	oneline bool
}

func (o *logOptions) addFlags(flags *pflag.FlagSet) {
	o.outputOptions.addFlags(flags)
	flags.StringVarP(&o.branch, "branch", "b", dot.MasterBranch.String(), "branch to show")
	flags.BoolVar(&o.oneline, "oneline", false, "one line for each commit")
}

func newLogCommand(s *session) *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use:   "log DOT",
		Short: "Show the commits of a branch, the oldest first",
		Long: `Show the commits of a branch, the oldest first, with those that it began from.

The handle of a commit is what a VolumeSnapshotContent written by hand takes as
its snapshotHandle, so that a PersistentVolumeClaim can be restored from it.`,
		Args: cobra.ExactArgs(1),
		RunE: s.run(func(ctx context.Context, args []string) error { return runLog(ctx, s, o, args[0]) }),
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runLog(ctx context.Context, s *session, o logOptions, arg string) error {
	name, err := parseDot(arg)
	if err != nil {
		return err
	}
	branch, err := dot.ParseBranchName(o.branch)
	if err != nil {
		return err
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	answer, err := c.Dots.ListCommits(ctx, connect.NewRequest(&dotmeshv1.ListCommitsRequest{Dot: name, Branch: branch.String()}))
	if err != nil {
		return err
	}
	commits := answer.Msg.GetCommits()
	if len(commits) == 0 && o.format == formatTable {
		fmt.Fprintf(s.Err, "Branch %s of %s has no commits yet: take a VolumeSnapshot, or run dm commit %s -m MESSAGE.\n", branch, name, name)
		return nil
	}
	return o.show(s.Out, view{object: answer.Msg, names: commitIDs(commits), table: func(w io.Writer) {
		if o.oneline {
			commitTable(w, commits)
			return
		}
		for i, commit := range commits {
			if i > 0 {
				fmt.Fprintln(w)
			}
			commitText(w, commit)
		}
	}})
}

func commitIDs(commits []*dotmeshv1.Commit) []string {
	ids := make([]string, 0, len(commits))
	for _, c := range commits {
		ids = append(ids, c.GetId())
	}
	return ids
}

func commitTable(w io.Writer, commits []*dotmeshv1.Commit) {
	rows := [][]string{{"COMMIT", "TIME", "AUTHOR", "MESSAGE"}}
	for _, c := range commits {
		first, _, _ := strings.Cut(c.GetMessage(), "\n")
		rows = append(rows, []string{c.GetId(), when(c.GetTime()), c.GetAuthor(), first})
	}
	table(w, rows...)
}

// commitText shows a commit as git does.
func commitText(w io.Writer, c *dotmeshv1.Commit) {
	fmt.Fprintf(w, "commit %s\n", c.GetId())
	rows := [][]string{
		{"Author:", c.GetAuthor()}, {"Date:", when(c.GetTime())},
		{"Branch:", c.GetBranch()}, {"Handle:", c.GetHandle()},
	}
	if len(c.GetTags()) > 0 {
		rows = append(rows, []string{"Tags:", strings.Join(c.GetTags(), ", ")})
	}
	for _, key := range slices.Sorted(maps.Keys(c.GetMetadata())) {
		rows = append(rows, []string{key + ":", c.GetMetadata()[key]})
	}
	table(w, rows...)
	fmt.Fprintln(w)
	for line := range strings.Lines(c.GetMessage()) {
		fmt.Fprintf(w, "    %s\n", printable(strings.TrimRight(line, "\r\n")))
	}
}
