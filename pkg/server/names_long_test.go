//go:build zfs && long

package server_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
)

// oddNames are names that the CSI specification allows, each another one.
func oddNames() []string {
	return []string{
		strings.Repeat("x", 128),
		strings.Repeat("🦄", 32),
		strings.Repeat("y\u0301\u0327", 25), // combining marks, 125 bytes
		"\u00e9", "e\u0301",                 // é, composed and not
		"שלום-\u202eعالم", // with a mark that turns the direction
		"👩\u200d👩\u200d👧",
		"../../etc/passwd",
		"-rf a@b#c%d,e=f:g", "-n", // that look like options of zfs program, as a message may too
		"$(reboot) `id` '\"\\ ; |\u2028",
		" \u00a0\ufeff\U0010ffff\ufffd\u200b",
	}
}

// TestOddCSINames: every name is its own volume and its own snapshot, also in a
// registry that was filled from the pool, and nothing of it stays.
func TestOddCSINames(t *testing.T) {
	m := newMachine(t)
	r := m.start(nil)
	empty := m.state()
	names := oddNames()
	volumes, handles := map[string]string{}, map[string]string{}
	create := func(name string) string {
		// As csi-sanity does, which tells of no claim; the dot is called after the volume.
		return must(t, r.Volumes.CreateVolume, &v1.CreateVolumeRequest{CsiName: name, RequiredBytes: 16 * mib}).Volume.Id
	}
	snapshot := func(name string) string {
		return must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: name, Volume: volumes[name], Message: name}).Snapshot.Handle
	}
	for _, name := range names {
		if len(name) > 128 || !utf8.ValidString(name) {
			t.Fatalf("%q is not a name of the test's", name)
		}
		volumes[name] = create(name)
		handles[name] = snapshot(name)
	}
	same := func(when string) {
		t.Helper()
		seen := map[string]string{}
		for _, name := range names {
			if got := create(name); got != volumes[name] {
				t.Errorf("%s: a retry of the volume %q gave %s, want %s", when, name, got, volumes[name])
			}
			if got := snapshot(name); got != handles[name] {
				t.Errorf("%s: a retry of the snapshot %q gave %s, want %s", when, name, got, handles[name])
			}
			for _, id := range []string{volumes[name], handles[name]} {
				if other, twice := seen[id]; twice {
					t.Errorf("%s: %q and %q are both %s", when, name, other, id)
				}
				seen[id] = name
			}
		}
	}
	same("at once")
	listed(t, r, names, handles)
	want := m.settled()

	r.stop()
	m.loseRegistry()
	cfg := m.config(nil)
	cfg.Recover = true
	r = m.startWith(cfg)
	m.becomes("the recovered state", want)
	same("recovered")
	listed(t, r, names, handles)

	for _, name := range names {
		must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumes[name]})
		for range 2 {
			must(t, r.Volumes.DeleteSnapshot, &v1.DeleteSnapshotRequest{Handle: handles[name]})
		}
	}
	m.becomes("the state when all is deleted", empty)
}

// listed reads the lists page by page.
func listed(t *testing.T, r *running, names []string, handles map[string]string) {
	t.Helper()
	var volumes, snapshots []string
	for token := ""; ; {
		page := must(t, r.Volumes.ListVolumes, &v1.ListVolumesRequest{MaxEntries: 5, StartingToken: token})
		for _, v := range page.Volumes {
			volumes = append(volumes, v.CsiName)
		}
		if token = page.NextToken; token == "" {
			break
		}
	}
	for token := ""; ; {
		page := must(t, r.Volumes.ListSnapshots, &v1.ListSnapshotsRequest{MaxEntries: 5, StartingToken: token})
		for _, s := range page.Snapshots {
			snapshots = append(snapshots, s.Handle)
		}
		if token = page.NextToken; token == "" {
			break
		}
	}
	var want []string
	for _, h := range handles {
		want = append(want, h)
	}
	wantNames := slices.Sorted(slices.Values(names))
	slices.Sort(volumes)
	slices.Sort(snapshots)
	slices.Sort(want)
	var messages []string
	for _, d := range must(t, r.Dots.ListDots, &v1.ListDotsRequest{}).Dots {
		for _, c := range must(t, r.Dots.ListCommits, &v1.ListCommitsRequest{Dot: d.Id}).Commits {
			messages = append(messages, c.Message)
		}
	}
	slices.Sort(messages)
	if !slices.Equal(messages, wantNames) {
		t.Errorf("the messages are %q, want %q", messages, wantNames)
	}
	if !slices.Equal(volumes, wantNames) {
		t.Errorf("the volumes are %q, want %q", volumes, wantNames)
	}
	if !slices.Equal(snapshots, want) {
		t.Errorf("the snapshots are %q, want %q", snapshots, want)
	}
}
