package zfs

import (
	"context"
	_ "embed" // the channel program
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/names"
)

// SnapshotSpec is one snapshot to take with the user properties to set on it.
type SnapshotSpec struct {
	Snapshot Snapshot
	Props    Props // user properties only
}

// SnapshotResult says what became of one SnapshotSpec.
type SnapshotResult struct {
	Snapshot Snapshot
	// GUID and CreateTXG are of the snapshot that now has this name, also when
	// Err is ErrExists; 0 if there is none.
	GUID      GUID
	CreateTXG uint64
	// Err: ErrExists, ErrNotFound (the filesystem), ErrNoSpace, ErrQuota … A
	// snapshot never exists without all of its properties.
	Err error
}

// MaxSnapshotBytes bounds the names and values of one Snapshot call; it stays
// below the kernel's limit on a process's arguments (2 MiB with the usual
// stack limit of 8 MiB, environment and pointers included).
const MaxSnapshotBytes = 1 << 20

//go:embed snapshot.lua
var snapshotProgram string

// Memory for the program: its arguments are held twice (as nvlist and as Lua
// strings). The kernel allows up to 100 MB.
const programMemory = 64 << 20

// Snapshot takes snapshots of one pool at one moment (one txg) and sets their
// user properties, in one process that returns once it is on stable storage.
// ZFS takes one snapshot of a filesystem per txg: of several that are asked for
// of the same filesystem, each has a process, and a moment, of its own.
//
// Each item succeeds or fails by itself (SnapshotResult.Err); the error is of
// the whole call, after which any item may or may not have been taken: list, or
// call again and meet ErrExists with the GUID. ErrTooLarge when names and
// values exceed MaxSnapshotBytes together.
func (c *Client) Snapshot(ctx context.Context, specs []SnapshotSpec) ([]SnapshotResult, error) {
	if len(specs) == 0 {
		return nil, nil
	}
	if _, err := snapshotArgs(specs); err != nil {
		return nil, err // before anything is taken
	}
	results := make([]SnapshotResult, len(specs))
	err := c.mutate(ctx, operation{BeforeSnapshot, AfterSnapshot}, func(c *Client) error {
		for _, round := range rounds(specs) {
			if err := c.snapshotRound(ctx, specs, round, results); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// rounds are the indices of specs in groups that name each filesystem once, in
// the order of specs.
func rounds(specs []SnapshotSpec) [][]int {
	var groups [][]int
	taken := map[Dataset]int{}
	for i, spec := range specs {
		d := spec.Snapshot.Dataset()
		if taken[d] == len(groups) {
			groups = append(groups, nil)
		}
		groups[taken[d]] = append(groups[taken[d]], i)
		taken[d]++
	}
	return groups
}

// snapshotRound runs the program once, for the specs with these indices.
func (c *Client) snapshotRound(ctx context.Context, specs []SnapshotSpec, round []int, results []SnapshotResult) error {
	chosen := make([]SnapshotSpec, len(round))
	for i, index := range round {
		chosen[i] = specs[index]
	}
	argv, err := snapshotArgs(chosen)
	if err != nil {
		return err
	}
	// Without "--" a value that begins with "-" would be an option of zfs's own.
	args := append([]string{
		"zfs", "program", "-j", "-m", strconv.Itoa(programMemory),
		"--", chosen[0].Snapshot.Dataset().Pool().String(), "-",
	}, argv...)
	out, err := c.run(ctx, command{path: c.cfg.ZFS, args: args, input: snapshotProgram})
	if err != nil {
		return err
	}
	answers, err := parseSnapshotResults(out, chosen)
	for i, answer := range answers {
		results[round[i]] = answer
	}
	return err
}

// snapshotArgs encodes the specs for snapshot.lua. Everything is an argument;
// nothing is ever put into the program's text.
func snapshotArgs(specs []SnapshotSpec) ([]string, error) {
	var argv []string
	total := 0
	seen := make(map[Snapshot]bool, len(specs))
	for _, spec := range specs {
		if err := check(spec.Props, spec.Snapshot); err != nil {
			return nil, err
		}
		if pool := spec.Snapshot.Dataset().Pool(); pool != specs[0].Snapshot.Dataset().Pool() {
			return nil, fmt.Errorf("snapshots in pools %s and %s: %w: one pool at a time", specs[0].Snapshot.Dataset().Pool(), pool, ErrInvalidName)
		}
		if seen[spec.Snapshot] {
			return nil, fmt.Errorf("snapshot %s is named twice: %w", spec.Snapshot, ErrInvalidName)
		}
		seen[spec.Snapshot] = true
		argv = append(argv, spec.Snapshot.String(), strconv.Itoa(len(spec.Props)))
		for _, name := range spec.Props.names() {
			if !name.IsUser() {
				return nil, fmt.Errorf("property %s of snapshot %s: %w: only user properties can be set on a snapshot", name, spec.Snapshot, ErrInvalidName)
			}
			argv = append(argv, string(name), spec.Props[name])
		}
	}
	for _, arg := range argv {
		total += len(arg) + 9 // its terminator and its pointer
	}
	if total > MaxSnapshotBytes {
		return nil, fmt.Errorf("%d snapshots with %d bytes of names and values: %w: at most %d bytes", len(specs), total, ErrTooLarge, MaxSnapshotBytes)
	}
	return argv, nil
}

// parseSnapshotResults reads the JSON that `zfs program -j` prints. Lua's
// integers are signed, so a GUID can be negative there.
func parseSnapshotResults(out []byte, specs []SnapshotSpec) ([]SnapshotResult, error) {
	var answer struct {
		Return map[string]struct {
			Errno     int   `json:"errno"`
			GUID      int64 `json:"guid"`
			CreateTXG int64 `json:"createtxg"`
		} `json:"return"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("answer of the snapshot program: %w: %w", ErrUnexpectedOutput, err)
	}
	results := make([]SnapshotResult, len(specs))
	for i, spec := range specs {
		item, ok := answer.Return[strconv.Itoa(i+1)]
		if !ok {
			return nil, fmt.Errorf("answer of the snapshot program has nothing on %s: %w", spec.Snapshot, ErrUnexpectedOutput)
		}
		results[i] = SnapshotResult{Snapshot: spec.Snapshot, GUID: GUID(item.GUID), CreateTXG: uint64(item.CreateTXG)}
		if item.Errno != 0 {
			results[i].Err = &CommandError{
				Args:     []string{"zfs", "program", "snapshot", spec.Snapshot.String()},
				ExitCode: item.Errno,
				Kind:     errnoKind(item.Errno),
			}
		} else if item.GUID == 0 {
			return nil, fmt.Errorf("snapshot %s was taken but has no GUID: %w", spec.Snapshot, ErrUnexpectedOutput)
		}
	}
	return results, nil
}

// Bookmark makes a bookmark of a snapshot of the same filesystem.
func (c *Client) Bookmark(ctx context.Context, from Snapshot, to Bookmark) error {
	if err := check(nil, from, to); err != nil {
		return err
	}
	return c.mutateZFS(ctx, operation{BeforeBookmark, AfterBookmark}, "bookmark", from.String(), to.String())
}

// DestroyBookmark destroys one bookmark.
func (c *Client) DestroyBookmark(ctx context.Context, b Bookmark) error {
	if err := check(nil, b); err != nil {
		return err
	}
	return c.mutateZFS(ctx, operation{BeforeDestroyBookmark, AfterDestroyBookmark}, "destroy", b.String())
}

// Hold keeps snapshots from being destroyed until Release. ErrExists when held
// under that tag already.
func (c *Client) Hold(ctx context.Context, tag string, snaps ...Snapshot) error {
	return c.holds(ctx, operation{BeforeHold, AfterHold}, "hold", tag, snaps)
}

// Release ends holds. ErrNotFound when there was none.
func (c *Client) Release(ctx context.Context, tag string, snaps ...Snapshot) error {
	return c.holds(ctx, operation{BeforeRelease, AfterRelease}, "release", tag, snaps)
}

func (c *Client) holds(ctx context.Context, op operation, verb, tag string, snaps []Snapshot) error {
	if len(snaps) == 0 {
		return nil
	}
	if err := names.CheckComponent(tag); err != nil {
		return fmt.Errorf("hold tag: %w: %w", ErrInvalidName, err)
	}
	args := []string{verb, tag}
	for _, s := range snaps {
		if err := check(nil, s); err != nil {
			return err
		}
		args = append(args, s.String())
	}
	return c.mutateZFS(ctx, op, args...)
}
