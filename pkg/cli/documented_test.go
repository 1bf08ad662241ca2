package cli

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Each command has a row in the documentation, and its flags are in that row; what
// every command takes, or every one that shows something, is told beside the rows.
func TestEveryCommandAndFlagIsDocumented(t *testing.T) {
	const page = "docs/configuration.md"
	text, err := os.ReadFile("../../" + page)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## `dm`\n")
	if !found {
		t.Fatalf("%s has no section on dm", page)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		told := section
		if cmd.HasParent() && (cmd.HasLocalFlags() || !cmd.HasSubCommands()) {
			told = rowsOf(section, cmd.CommandPath())
			if told == "" {
				t.Errorf("%s does not tell of %s", page, cmd.CommandPath())
				return
			}
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			where := told
			if f.Name == "output" {
				where = section
			}
			if f.Name != "help" && !names(where, f.Name) {
				t.Errorf("%s does not tell of %s --%s", page, cmd.CommandPath(), f.Name)
			}
		})
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newRootCommand(&session{}))
}

// rowsOf are the rows of a table whose first cell names a command.
func rowsOf(section, command string) string {
	is := regexp.MustCompile("`" + command + "[ `]")
	var rows strings.Builder
	for row := range strings.Lines(section) {
		if cells := strings.Split(row, "|"); len(cells) > 2 && is.MatchString(cells[1]) {
			rows.WriteString(row)
		}
	}
	return rows.String()
}

func names(text, flag string) bool {
	return regexp.MustCompile("`--" + flag + "[ `]").MatchString(text)
}
