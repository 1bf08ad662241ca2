//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// documented are the arguments of kubectl in the commands of a document, between two
// pieces of its text, and what it sleeps between them, as "sleep" and the seconds.
func documented(t *testing.T, file, from, to string) (commands [][]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(suite.repo, file))
	if err != nil {
		t.Fatal(err)
	}
	_, section, begins := strings.Cut(string(text), from)
	section, _, ends := strings.Cut(section, to)
	for line := range strings.Lines(section) {
		if command, is := strings.CutPrefix(line, "    kubectl "); is {
			command = strings.ReplaceAll(command, " -f deploy/", " -f "+suite.repo+"/deploy/")
			commands = append(commands, words(command))
		}
		if strings.HasPrefix(line, "    sleep ") {
			commands = append(commands, words(line)[:2])
		}
	}
	if !begins || !ends || len(commands) == 0 {
		t.Fatalf("%s has no commands between %q and %q", file, from, to)
	}
	return commands
}

// words splits a command as a shell does that knows no quotes but '.
func words(command string) (list []string) {
	word, begun, quoted := "", false, false
	for _, r := range command + " " {
		switch {
		case r == '\'':
			quoted, begun = !quoted, true
		case quoted || !unicode.IsSpace(r):
			word, begun = word+string(r), true
		case begun:
			list = append(list, word)
			word, begun = "", false
		}
	}
	return list
}
