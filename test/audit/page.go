package audit

import (
	"fmt"
	"regexp"
	"strings"
)

// Reasons are what a page gives for grants.
type Reasons map[Grant]string

const (
	everywhere    = "cluster"
	ownNamespace  = "namespace"
	columns       = 5 // account, resource, verbs, where, reason
	headingMarker = "## "
)

var inBackticks = regexp.MustCompile("`([^`]+)`")

// NotUsed is the title of the section of docs/rbac.md on what no test uses.
const NotUsed = "Granted, and not used by the tests"

// ReadPage reads the tables of a page like docs/rbac.md: the reasons for what is
// granted, and, from the section of that title, for what no test uses. namespace is
// what the page calls that.
func ReadPage(page, notUsed, namespace string) (granted, unused Reasons, err error) {
	granted, unused = Reasons{}, Reasons{}
	section := ""
	for line := range strings.Lines(page) {
		if title, ok := strings.CutPrefix(line, headingMarker); ok {
			section = strings.TrimSpace(title)
		}
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		into := granted
		if section == notUsed {
			into = unused
		}
		if err := into.row(strings.TrimSpace(line), namespace); err != nil {
			return nil, nil, err
		}
	}
	return granted, unused, nil
}

func (r Reasons) row(line, namespace string) error {
	cells := strings.Split(strings.Trim(line, "|"), "|")
	if len(cells) != columns {
		return fmt.Errorf("%q has %d columns, want %d", line, len(cells), columns)
	}
	account, resources, verbs := inBackticks.FindStringSubmatch(cells[0]), inBackticks.FindStringSubmatch(cells[1]), inBackticks.FindAllStringSubmatch(cells[2], -1)
	where, reason := strings.TrimSpace(cells[3]), strings.TrimSpace(cells[4])
	if account == nil || resources == nil || len(verbs) == 0 || reason == "" {
		return fmt.Errorf("%q lacks an account, a resource, verbs or a reason", line)
	}
	in := ""
	switch where {
	case everywhere:
	case ownNamespace:
		in = namespace
	default:
		return fmt.Errorf("%q holds in %q, want %q or %q", line, where, everywhere, ownNamespace)
	}
	for _, verb := range verbs {
		g := Grant{Account: account[1], Resource: resources[1], Verb: verb[1], Namespace: in}
		if r[g] != "" {
			return fmt.Errorf("%s stands there twice", g)
		}
		r[g] = reason
	}
	return nil
}

// Without gives the grants that have no reason there.
func (r Reasons) Without(grants []Grant) []Grant {
	var rest []Grant
	for _, g := range grants {
		g.Name = ""
		if r[g] == "" {
			rest = append(rest, g)
		}
	}
	return rest
}
