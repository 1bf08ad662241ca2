package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// poolThatSays is an engine whose `zpool list` prints a line, and whose `zpool sync`
// does what the script says.
func poolThatSays(t *testing.T, line, sync string) *Engine {
	t.Helper()
	program := filepath.Join(t.TempDir(), "zpool")
	script := "#!/bin/sh\ncase $1 in\nlist) echo '" + line + "' ;;\nsync) " + sync + " ;;\nesac\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return &Engine{zfs: must(zfs.New(zfs.Config{ZFS: program, Zpool: program})), root: must(zfs.ParseDataset("tank"))}
}

func TestHealthSaysWhatZFSKnowsAndWhetherItWrites(t *testing.T) {
	line := func(state, full string) string {
		return strings.Join([]string{"tank", "7", "1000", "200", "800", "3", full, state, "0", "0", "1.00", "off", "off"}, "\t")
	}
	for name, tt := range map[string]struct {
		line, sync, state string
		writes            bool
		problem           string // part of it, "" for none
	}{
		"well":      {line("ONLINE", "20"), "exit 0", "ONLINE", true, ""},
		"degraded":  {line("DEGRADED", "20"), "exit 0", "DEGRADED", true, "DEGRADED"},
		"full":      {line("ONLINE", "95"), "exit 0", "ONLINE", true, "95 % full"},
		"suspended": {line("SUSPENDED", "20"), "sleep 60", "SUSPENDED", false, "cannot write"},
	} {
		t.Run(name, func(t *testing.T) {
			e := poolThatSays(t, tt.line, tt.sync)
			known, err := e.State(t.Context())
			if err != nil || known.State != tt.state || known.Writes != tt.writes || known.SizeBytes != 1000 || known.FreeBytes != 800 {
				t.Errorf("State: got %+v, %v", known, err)
			}
			checked, err := e.Health(t.Context(), 2*time.Second)
			if err != nil || checked.State != tt.state || checked.Writes != tt.writes {
				t.Errorf("Health: got %+v, %v", checked, err)
			}
			if (known.Problem == "") != (tt.problem == "") || !strings.Contains(known.Problem, tt.problem) || (checked.Problem == "") != (tt.problem == "") {
				t.Errorf("got problems %q and %q, want %q", known.Problem, checked.Problem, tt.problem)
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		e := poolThatSays(t, line("ONLINE", "20"), "sleep 60")
		if got, err := e.Health(t.Context(), 200*time.Millisecond); err != nil || got.Writes || got.State != zfs.HealthSuspended || got.Problem == "" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}
