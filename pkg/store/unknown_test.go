package store

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// stored is the JSON at a key, without an order of its members.
func stored(t *testing.T, s *Store, k Key) string {
	t.Helper()
	resp, err := s.client.Get(within(t, 10*time.Second), s.full(k))
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("%s: %v", k, err)
	}
	return sorted(t, string(resp.Kvs[0].Value))
}

func sorted(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestWhatANewerVersionWroteIsKept reads records with members that this version
// does not know, changes something in them and writes them back.
func TestWhatANewerVersionWroteIsKept(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 20*time.Second)
	put := func(k Key, value string) {
		t.Helper()
		if _, err := s.client.Put(ctx, s.full(k), value); err != nil {
			t.Fatal(err)
		}
	}
	d, b, v := dot.NewID(), dot.NewBranchID(), dot.VolumeIDOf("v")

	put(DotKey(d), fmt.Sprintf(`{"ID":%q,"FullName":{"Namespace":"admin","Name":"a","Realm":"r"},"State":"creating","Colour":{"R":18446744073709551615},
		"Settings":{"Compression":"","RecordSize":0,"Copies":2},"Subdots":{"x":{"ProjectID":1048576,"MadeByClaim":true,"Owner":7}}}`, d))
	dots, err := s.ListDots(ctx)
	if err != nil || len(dots) != 1 {
		t.Fatalf("got %v, %v", dots, err)
	}
	changed := dots[0].Value
	changed.State = dot.Ready
	changed.AssignSubdot(dot.DefaultSubdot, true)
	commit(t, s.Txn().Unchanged(DotKey(d), dots[0].Revision).PutDot(changed))
	want := fmt.Sprintf(`{"ID":%q,"FullName":{"Namespace":"admin","Name":"a","Realm":"r"},"State":"ready","Colour":{"R":18446744073709551615},
		"MadeByPVC":false,"Owner":"","Shares":{"All":false,"Namespaces":null},"Settings":{"Compression":"","RecordSize":0,"Copies":2},
		"Subdots":{"x":{"ProjectID":1048576,"MadeByClaim":true,"Owner":7},"__default__":{"ProjectID":1048577,"MadeByClaim":true}},
		"Released":false,"Created":"0001-01-01T00:00:00Z"}`, d)
	if got := stored(t, s, DotKey(d)); got != sorted(t, want) {
		t.Errorf("got\n%s\nwant\n%s", got, sorted(t, want))
	}

	// A branch keeps it under another name, and what is removed stays removed.
	put(BranchIDKey(b), fmt.Sprintf(`{"Branch":%q,"Dot":%q,"Name":"master","Later":1}`, b, d))
	put(BranchKey(d, dot.MasterBranch), fmt.Sprintf(`{"ID":%q,"Dot":%q,"Name":"master","State":"ready","Epoch":"1.1","Pinned":true}`, b, d))
	branch, err := s.FindBranch(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	renamed := branch.Value
	renamed.Name = branchName(t, "aside")
	commit(t, s.Txn().DeleteBranch(branch.Value).PutBranch(renamed))
	if got := members(t, stored(t, s, BranchKey(d, renamed.Name))); string(got["Pinned"]) != "true" {
		t.Errorf("the renamed branch is %s", got)
	}
	put(VolumeKey(v), fmt.Sprintf(`{"ID":%q,"State":"ready","Publications":{"a":{"Node":"a","Why":"x"},"b":{"Node":"b","Why":"y"}}}`, v))
	volume, err := s.GetVolume(ctx, v)
	if err != nil || len(volume.Value.Publications) != 2 {
		t.Fatalf("got %+v, %v", volume, err)
	}
	delete(volume.Value.Publications, "a")
	commit(t, s.Txn().PutVolume(volume.Value))
	publications := members(t, string(members(t, stored(t, s, VolumeKey(v)))["Publications"]))
	if len(publications) != 1 || string(members(t, string(publications["b"]))["Why"]) != `"y"` {
		t.Errorf("got %s", publications)
	}
}

func members(t *testing.T, text string) map[string]json.RawMessage {
	t.Helper()
	m, ok := object([]byte(text))
	if !ok {
		t.Fatalf("%s is no object", text)
	}
	return m
}

// TestEveryRecordKeepsWhatItDoesNotKnow checks that no codec was forgotten.
func TestEveryRecordKeepsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	d, b, c, pool := dot.NewID(), dot.NewBranchID(), dot.NewCommitID(), dot.PoolIDOf(7)
	full := fullName(t, "admin", "a")
	made := dot.Commit{ID: c, Dot: d, Branch: b, CSIName: "s"}
	keeps(t, clusterCodec, Cluster{ID: "2b0e3c52-66cb-4a4d-8a3b-3c64d1b0f3a1", Incarnation: 1}, ClusterKey())
	keeps(t, recoveryCodec, Recovery{Cluster: "c", Pool: pool}, RecoveringKey())
	keeps(t, dotCodec, dot.Dot{ID: d, FullName: full, State: dot.Ready}, DotKey(d))
	keeps(t, branchCodec, dot.Branch{ID: b, Dot: d, Name: dot.MasterBranch, State: dot.Ready}, BranchKey(d, dot.MasterBranch))
	keeps(t, commitCodec, made, CommitKey(d, c))
	keeps(t, volumeCodec, dot.Volume{ID: dot.VolumeIDOf("v"), State: dot.Ready}, VolumeKey(dot.VolumeIDOf("v")))
	keeps(t, intentCodec, Intent{Commit: made}, IntentKey("s"))
	keeps(t, snapshotCodec, Snapshot{CSIName: "s", Dot: d, Commit: c}, SnapshotKey("s"))
	keeps(t, poolCodec, dot.Pool{ID: pool}, PoolKey(pool))
	keeps(t, tombstoneCodec, Tombstone{Branch: b}, DeletedKey(b))
	keeps(t, replicaCodec, Replica{Branch: b, Pool: pool}, ReplicaKey(b, pool))
	keeps(t, assignmentCodec, Assignment{Pool: pool, Branch: b, Role: RoleMaster}, AssignmentKey(pool, b))
	keeps(t, userCodec, User{Name: dot.DefaultNamespace}, UserKey(dot.DefaultNamespace))
}

func keeps[T any](t *testing.T, c codec[T], v T, k Key) {
	t.Helper()
	text, err := c.encode(k, v)
	if err != nil {
		t.Fatal(err)
	}
	text = text[:len(text)-1] + `,"Later":{"a":[1,{"b":null}]}}`
	read, err := c.decode(k, []byte(text))
	if err != nil {
		t.Errorf("%s: %v", k, err)
		return
	}
	again, err := c.encode(k, read)
	if err != nil || sorted(t, again) != sorted(t, text) {
		t.Errorf("%s: got %s (%v), want %s", k, again, err, text)
	}
}

func TestMembersOfAnotherCaseAreKnown(t *testing.T) {
	t.Parallel()
	k := VolumeKey(dot.VolumeIDOf("v"))
	v, err := volumeCodec.decode(k, []byte(fmt.Sprintf(`{"id":%q,"State":"ready","Colour":"red"}`, dot.VolumeIDOf("v"))))
	if err != nil {
		t.Fatal(err)
	}
	v.Unknown += " "
	text, err := volumeCodec.encode(k, v)
	if _, there := members(t, text)["id"]; there || err != nil {
		t.Errorf("got %s, %v", text, err)
	}
	v.Unknown = "{"
	if _, err := volumeCodec.encode(k, v); err == nil || dot.CodeOf(err) != dot.CodeInternal {
		t.Errorf("got %v", err)
	}
}

func FuzzDecodeDot(f *testing.F) {
	id := dot.NewID()
	f.Add([]byte(fmt.Sprintf(`{"ID":%q,"FullName":{"Namespace":"admin","Name":"a"},"State":"ready","X":{"Y":[1]}}`, id)))
	f.Fuzz(func(t *testing.T, value []byte) {
		d, err := dotCodec.decode(DotKey(id), value)
		if err != nil {
			return
		}
		text, err := dotCodec.encode(DotKey(id), d)
		if err != nil {
			t.Fatalf("%s was read and cannot be written: %v", value, err)
		}
		if _, err := dotCodec.decode(DotKey(id), []byte(text)); err != nil {
			t.Fatalf("%s was written and cannot be read: %v", text, err)
		}
	})
}
