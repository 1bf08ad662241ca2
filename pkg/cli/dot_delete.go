package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

type deleteOptions struct{ force bool }

func (o *deleteOptions) addFlags(flags *pflag.FlagSet) {
	flags.BoolVarP(&o.force, "force", "f", false, "do not ask")
}

func newDotDeleteCommand(s *session) *cobra.Command {
	var o deleteOptions
	cmd := &cobra.Command{
		Use:   "delete DOT",
		Short: "Delete a dot with all its branches and commits",
		Long: `Delete a dot with all its branches and commits. A dot that volumes use is
refused. Commits that VolumeSnapshots need are kept until those go.`,
		Args: cobra.ExactArgs(1),
		RunE: s.run(func(ctx context.Context, args []string) error { return runDelete(ctx, s, o, args[0]) }),
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runDelete(ctx context.Context, s *session, o deleteOptions, arg string) error {
	name, err := parseDot(arg)
	if err != nil {
		return err
	}
	if !o.force {
		if err := s.confirm(ctx, fmt.Sprintf("Delete dot %s with all its branches and commits?", name)); err != nil {
			return err
		}
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	if _, err := c.Dots.DeleteDot(ctx, connect.NewRequest(&dotmeshv1.DeleteDotRequest{Dot: name})); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "Deleted dot %s\n", name)
	return nil
}

// confirm asks the person; anything but yes is a refusal.
func (s *session) confirm(ctx context.Context, question string) error {
	fmt.Fprintf(s.Err, "%s [y/N] ", question)
	answer, err := interruptible(ctx, func() ([]byte, error) {
		return bufio.NewReader(io.LimitReader(s.In, 64)).ReadBytes('\n')
	})
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(string(answer))) {
	case "y", "yes":
		return nil
	}
	return dot.Precondition("nothing was deleted: answer y, or use --force where nobody can answer")
}
