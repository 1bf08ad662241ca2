//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// shownDot is what the tests read of `dm show -o json`.
type shownDot struct {
	ID       string
	Name     string
	Released bool
	Volumes  []struct{ ID, PvcName, Subdot string }
	Branches []struct{ Name, LatestCommit string }
}

func showDot(t *testing.T, name string) shownDot {
	t.Helper()
	var d shownDot
	if err := json.Unmarshal([]byte(dm(t, "show", name, "-o", "json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// shownCommit is what the tests read of `dm log -o json`.
type shownCommit struct {
	ID, Message, Handle string
	Metadata            map[string]string
}

func logOf(t *testing.T, name string) []shownCommit {
	t.Helper()
	text := dm(t, "log", name, "-o", "json")
	if strings.TrimSpace(text) == "" {
		return nil
	}
	var l struct{ Commits []shownCommit }
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		t.Fatal(err)
	}
	return l.Commits
}

// deleteDot ends a dot that outlives its volumes, because dm made it or commits
// of it. Those of a namespace that is gone go one after another yet.
func deleteDot(t *testing.T, name string) {
	t.Helper()
	eventually(t, volumeLimit, "delete dot "+name, func() error {
		code, _, errOut := tryDM(t, "dot", "delete", name, "--force")
		if code != 0 && code != 3 {
			return fmt.Errorf("exit code %d: %s", code, errOut)
		}
		return nil
	})
}
