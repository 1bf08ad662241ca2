package docs

import (
	"regexp"
	"strings"
	"testing"
)

var (
	tableLine = regexp.MustCompile(`^\|[-| :]+\|$`)
	linked    = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	remark    = regexp.MustCompile(`\((` + "`[^`]+`" + `)?[^)]*\)`)
	detail    = regexp.MustCompile(`[,:;]( .*|$)`)
)

// manyRows are the tables, by the first cell of their heads, that have several rows for
// one thing.
var manyRows = []string{"process", "account"}

// subject is what a row is about: the beginning of its first cell, without what is said
// of it in parentheses, but with the mode that they may begin with.
func subject(cell string) string {
	cell = linked.ReplaceAllString(cell, "$1")
	var mode string
	if m := remark.FindStringSubmatch(cell); m != nil {
		mode = m[1]
	}
	about := detail.ReplaceAllString(remark.ReplaceAllString(cell, ""), "")
	return strings.TrimSpace(strings.Join(strings.Fields(about), " ") + " " + mode)
}

// doubled are the subjects that have more than one row in a table of the text.
func doubled(text string) []string {
	var twice []string
	var seen map[string]bool // nil outside of a table, and in one of manyRows
	before := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		switch {
		case !strings.HasPrefix(line, "|"):
			seen = nil
		case tableLine.MatchString(line):
			seen = map[string]bool{}
			for _, head := range manyRows {
				if strings.HasPrefix(before, "| "+head+" |") {
					seen = nil
				}
			}
		case seen != nil:
			s := subject(first)
			if seen[s] {
				twice = append(twice, s)
			}
			seen[s] = true
		}
		before = line
	}
	return twice
}

// TestOneRowForEachSubject: where two rows tell of one thing, a merge has kept an old one.
func TestOneRowForEachSubject(t *testing.T) {
	for _, page := range pages {
		for _, s := range doubled(read(t, page)) {
			t.Errorf("%s has two rows on %q in one table: keep the one that is true", page, s)
		}
	}
}

func TestDoubled(t *testing.T) {
	table := func(head string, rows ...string) string {
		return "| " + head + " | what |\n|---|---|\n| " + strings.Join(rows, " | x |\n| ") + " | y |\n"
	}
	for _, c := range []struct{ what, text, want string }{
		{"the same", table("key", "`a`", "`b`", "`a`"), "`a`"},
		{"other remarks", table("event", "a node goes (One)", "[a node goes](#x) (One, Two)"), "a node goes"},
		{"more of it", table("concept", "a clock, a lock", "a clock, a lock, a file"), "a clock"},
		{"another mode", table("event", "a node goes (`local`)", "a node goes (`pvcPerNode`; One)"), ""},
		{"another property", table("property", "`io.dotmesh:a`", "`io.dotmesh:b`"), ""},
		{"another table", table("key", "`a`") + "\n" + table("key", "`a`"), ""},
		{"several for one thing", table("process", "server", "server"), ""},
	} {
		if got := strings.Join(doubled(c.text), " "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
}
