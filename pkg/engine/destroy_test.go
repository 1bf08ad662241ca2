package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// TestNothingIsGoneWhileAKilledCommandMayMakeIt: a child that left the group of the
// killed process, and keeps its output open, stands for one that is stuck in the
// kernel.
func TestNothingIsGoneWhileAKilledCommandMayMakeIt(t *testing.T) {
	dir := t.TempDir()
	program, stuck, end := filepath.Join(dir, "zfs"), filepath.Join(dir, "stuck"), filepath.Join(dir, "end")
	script := `#!/bin/sh
case $1 in
create) setsid sh -c 'touch ` + stuck + `; until [ -e ` + end + ` ]; do sleep 0.1; done' & sleep 60 ;;
*) echo "cannot open 'x': dataset does not exist" >&2; exit 1 ;;
esac
`
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.WriteFile(end, nil, 0o600) }()
	e := must(Open(Config{
		ZFS: must(zfs.New(zfs.Config{ZFS: program, Zpool: program})), Root: must(zfs.ParseDataset("tank")),
		Identity: Identity{Pool: dot.PoolIDOf(7)}, ClusterID: "c", RunDir: dir,
	}))
	id := dot.NewBranchID()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for _, err := os.Stat(stuck); err != nil && t.Context().Err() == nil; _, err = os.Stat(stuck) {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	if err := e.zfs.CreateFilesystem(ctx, must(e.parent.Child(id.String())), nil); !errors.Is(err, zfs.ErrStuck) {
		t.Fatalf("got %v, want ErrStuck", err)
	}
	refused := func(what string) {
		t.Helper()
		if err := e.DestroyBranch(t.Context(), id); err == nil || dot.CodeOf(err) != dot.CodeAborted {
			t.Errorf("%s: got %v, want CodeAborted", what, err)
		}
	}
	refused("destroyed at once")
	// An origin that waits for its last clone makes it look first.
	waits := commitKey{dot.NewBranchID(), dot.NewCommitID()}
	e.index.commits = map[commitKey]indexedCommit{waits: {deleted: true}}
	refused("looked at first")

	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); e.zfs.Unfinished() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the command that has ended counts as unfinished")
		}
	}
	if err := e.DestroyBranch(t.Context(), id); err != nil {
		t.Errorf("when it has ended: %v", err)
	}
}
