package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

const (
	defaultTimeout = 30 * time.Second
	configVariable = "DOTMESH_CONFIG"
)

// session is what all commands of one call share.
type session struct {
	Terminal
	version    string
	configPath string
	remote     string
	timeout    time.Duration
	// started: the command's own work began, so that an error is no longer one
	// of usage.
	started bool
	// asked is the remote that was called, if one was.
	asked *askedRemote
}

// Main runs dm with arguments (without the program's name) and gives the
// process's exit code. Results go to t.Out, errors and notes to t.Err.
func Main(ctx context.Context, version string, args []string, t Terminal) int {
	s := &session{Terminal: t, version: version}
	root := newRootCommand(s)
	root.SetArgs(args)
	root.SetIn(t.In)
	root.SetOut(t.Out)
	root.SetErr(t.Err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	if !s.started {
		fmt.Fprintf(t.Err, "dm: %v\nRun %q for what it takes.\n", err, cmd.CommandPath()+" --help")
		return ExitUsage
	}
	if ctx.Err() != nil {
		told := "nothing was sent to a server"
		if s.asked != nil {
			told = "what the server was asked for may still be done"
		}
		fmt.Fprintln(t.Err, "dm: interrupted; "+told)
		return ExitInterrupted
	}
	fmt.Fprintf(t.Err, "dm: %v\n", err)
	return ExitCode(err)
}

func newRootCommand(s *session) *cobra.Command {
	root := &cobra.Command{
		Use:   "dm",
		Short: "Dotmesh: volumes that branch, commit and travel like git repositories",
		Long: `dm drives a dotmesh cluster by hand: it shows the dots that Kubernetes uses,
commits them, and says which Kubernetes namespaces may use them.

A dot is named NAMESPACE/NAME, or NAME in the namespace "admin", or by its id.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 not found; 4 refused (who you
are, or what you may); 5 refused (it exists, is in use, or does not fit);
6 no answer, trying again may help; 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&s.configPath, "config", "c", "", "file of remotes (default ~/.dotmesh/config, or $"+configVariable+")")
	flags.StringVarP(&s.remote, "remote", "r", "", "remote to use instead of the current one")
	flags.DurationVar(&s.timeout, "timeout", defaultTimeout, "most time that the server may take to answer")
	root.AddCommand(
		newRemoteCommand(s), newDotCommand(s), newInitCommand(s),
		newListCommand(s), newShowCommand(s), newLogCommand(s), newCommitCommand(s),
		newVersionCommand(s),
	)
	return root
}

// run wraps a command's function: it marks where usage ends, and explains the
// errors of the connection. Each call has its deadline from the client; what a
// person types has none.
func (s *session) run(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s.started = true
		if s.timeout <= 0 {
			return dot.Invalid("--timeout must be more than 0")
		}
		return s.explain(f(cmd.Context(), args))
	}
}

// configFile is where the remotes are kept.
func (s *session) configFile() string {
	if s.configPath != "" {
		return s.configPath
	}
	if path := s.Getenv(configVariable); path != "" {
		return path
	}
	return filepath.Join(s.Home, ".dotmesh", "config")
}

// parseDot checks how a user named a dot, so that a mistake is told before
// anything is sent, and gives the name that the API takes.
func parseDot(arg string) (string, error) {
	if namespace, name, found := strings.Cut(arg, "/"); found {
		ns, err := dot.ParseNamespace(namespace)
		if err != nil {
			return "", err
		}
		n, err := dot.ParseName(name)
		if err != nil {
			return "", err
		}
		return dot.FullName{Namespace: ns, Name: n}.String(), nil
	}
	if id, err := dot.ParseID(arg); err == nil {
		return id.String(), nil
	}
	n, err := dot.ParseName(arg)
	if err != nil {
		return "", err
	}
	return dot.FullName{Namespace: dot.DefaultNamespace, Name: n}.String(), nil
}

// readFile reads a small file that the user named.
func readFile(what, path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, dot.Invalid("%s: %w", what, err)
	}
	return data, nil
}

// noArgs is cobra's, with words that fit a command that has no commands below it.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || cmd.HasSubCommands() {
		return cobra.NoArgs(cmd, args)
	}
	return dot.Invalid("%s takes no arguments, but was given %q", cmd.CommandPath(), args[0])
}
