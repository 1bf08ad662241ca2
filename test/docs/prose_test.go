package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// longSentence is the length, in bytes, from which on a sentence is only written twice by
// mistake.
const longSentence = 60

var (
	fenced      = regexp.MustCompile("(?ms)^```.*?^```$")
	notProse    = regexp.MustCompile(`^(\||    |\t|#)`)
	endOfPhrase = regexp.MustCompile(`[.!?] `)
	listMark    = regexp.MustCompile(`^ *([-*]|[0-9]+\.) `)
)

// sentences are those of a page's prose, without line breaks: code, tables and headings
// are left out.
func sentences(text string) (all []string) {
	var block []string
	end := func() {
		all = append(all, endOfPhrase.Split(strings.Join(block, " ")+" ", -1)...)
		block = nil
	}
	for line := range strings.Lines(fenced.ReplaceAllString(text, "")) {
		words := strings.Join(strings.Fields(listMark.ReplaceAllString(line, "")), " ")
		if words == "" || notProse.MatchString(line) || listMark.MatchString(line) {
			end()
		}
		if words != "" && !notProse.MatchString(line) {
			block = append(block, words)
		}
	}
	end()
	return all
}

// repeated are the long sentences that stand in a text more than once.
func repeated(text string) (twice []string) {
	seen := map[string]bool{}
	for _, s := range sentences(text) {
		if len(s) < longSentence {
			continue
		}
		if seen[s] && !slices.Contains(twice, s) {
			twice = append(twice, s)
		}
		seen[s] = true
	}
	return twice
}

// TestNoSentenceStandsTwice: a merge can keep a paragraph and an older wrapping of it.
func TestNoSentenceStandsTwice(t *testing.T) {
	for _, page := range pages {
		for _, s := range repeated(read(t, page)) {
			t.Errorf("%s says twice %q", page, s)
		}
	}
}

func TestRepeated(t *testing.T) {
	const s = "A member is only removed while the others are a quorum without it."
	wrapped := strings.Replace(s, "while the", "while\nthe", 1)
	for _, c := range []struct {
		what, text string
		want       int
	}{
		{"once", s + "\n", 0},
		{"another wrapping", s + " More.\n" + wrapped + "\n", 1},
		{"in paragraphs of their own", s + "\n\nMore. " + wrapped + "\n", 1},
		{"in list items", "- " + s + "\n- " + wrapped + "\n", 1},
		{"three times is told once", s + "\n\n" + s + "\n\n" + s + "\n", 1},
		{"short ones", "It goes on. It goes on.\n", 0},
		{"code", s + "\n\n    " + s + "\n\n```\n" + s + "\n```\n", 0},
		{"tables", s + "\n\n| " + s + " |\n|---|\n| " + s + " |\n", 0},
	} {
		if got := repeated(c.text); len(got) != c.want {
			t.Errorf("%s: got %q, want %d", c.what, got, c.want)
		}
	}
}
