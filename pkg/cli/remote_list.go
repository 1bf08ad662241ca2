package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"
)

// listedRemote is what is shown of a remote: never its key.
type listedRemote struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	User    string `json:"user"`
	Trust   string `json:"trust"`
	Current bool   `json:"current"`
}

func newRemoteListCommand(s *session) *cobra.Command {
	var o outputOptions
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the remotes; \"*\" marks the current one",
		Args:    noArgs,
		RunE:    s.run(func(context.Context, []string) error { return runRemoteList(s, o) }),
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runRemoteList(s *session, o outputOptions) error {
	cfg, err := loadConfig(s.configFile())
	if err != nil {
		return err
	}
	remotes := []listedRemote{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Remotes)) {
		r := cfg.Remotes[name]
		trust := r.Fingerprint
		if r.CA != "" {
			trust = "CA"
		}
		remotes = append(remotes, listedRemote{Name: name, Address: r.Address, User: r.User, Trust: trust, Current: name == cfg.Current})
	}
	if len(remotes) == 0 && o.format == formatTable {
		fmt.Fprintln(s.Err, "No remote is known yet: run dm remote add NAME HOST --ca FILE.")
		return nil
	}
	return o.showRemotes(s.Out, remotes)
}

func (o outputOptions) showRemotes(w io.Writer, remotes []listedRemote) error {
	names := make([]string, 0, len(remotes))
	for _, r := range remotes {
		names = append(names, r.Name)
	}
	object := map[string]any{"remotes": remotes}
	return o.show(w, view{object: object, names: names, table: func(w io.Writer) {
		rows := [][]string{{"REMOTE", "ADDRESS", "USER", "TRUST", "CURRENT"}}
		for _, r := range remotes {
			mark := ""
			if r.Current {
				mark = "*"
			}
			rows = append(rows, []string{r.Name, r.Address, r.User, r.Trust, mark})
		}
		table(w, rows...)
	}})
}
