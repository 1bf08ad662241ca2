//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// histories are the ids of the commits of all dots, by the dots' names.
type histories map[string][]string

// readHistories asks for those of dots that stay: what deleted namespaces had goes first.
func readHistories(t *testing.T) histories {
	t.Helper()
	sys := kube{t: t, ns: system}
	eventually(t, volumeLimit, "released volumes go", func() error {
		out, err := sys.try(callLimit, "get", "pv", "-o", `jsonpath={.items[?(@.status.phase=="Released")].metadata.name}`)
		if err == nil && out != "" {
			err = fmt.Errorf("there are %s yet", out)
		}
		return err
	})
	all := histories{}
	for _, name := range strings.Fields(dm(t, "list", "-o", "name")) {
		all[name] = idsOf(logOf(t, name))
	}
	if len(all) == 0 {
		t.Error("there are no dots")
	}
	return all
}

// check sees that each dot has every commit that it had.
func (h histories) check(t *testing.T) {
	t.Helper()
	names := strings.Fields(dm(t, "list", "-o", "name"))
	for name, commits := range h {
		if !slices.Contains(names, name) {
			t.Errorf("dot %s is gone", name)
			continue
		}
		now := idsOf(logOf(t, name))
		for _, id := range commits {
			if !slices.Contains(now, id) {
				t.Errorf("dot %s has lost commit %s: it has %q", name, id, now)
			}
		}
	}
	t.Logf("%d dots have the commits that they had", len(h))
}

func idsOf(commits []shownCommit) []string {
	var ids []string
	for _, c := range commits {
		ids = append(ids, c.ID)
	}
	return ids
}
