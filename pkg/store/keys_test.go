package store

import (
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestKeysParseBack(t *testing.T) {
	t.Parallel()
	d, b, c, p := dot.NewID(), dot.NewBranchID(), dot.NewCommitID(), dot.PoolIDOf(18446744073709551615)
	for _, k := range []Key{
		ClusterKey(), RecoveringKey(), DotKey(d), NameKey(fullName(t, "admin", "a-b_C")), BranchKey(d, branchName(t, "master")), BranchIDKey(b), EpochKey(b),
		CommitKey(d, c), VolumeKey(dot.VolumeIDOf("x")), IntentKey("any / name ☃"), SnapshotKey(""), PoolKey(p), AliveKey(p),
		AssignmentKey(p, b), ReplicaKey(b, p), DeletedKey(b), UserKey(dot.DefaultNamespace), ClaimKey(aClaim(t)),
	} {
		got, err := ParseKey(k.String())
		if err != nil || got != k {
			t.Errorf("%s: got %v, %v", k, got, err)
		}
	}
}

func TestKeysTellTheirParts(t *testing.T) {
	t.Parallel()
	b, p := dot.NewBranchID(), dot.PoolIDOf(7)
	name := fullName(t, "admin", "a")
	for _, tt := range []struct {
		key       Key
		got, want any
	}{
		{AssignmentKey(p, b), AssignmentKey(p, b).Pool(), p},
		{AssignmentKey(p, b), AssignmentKey(p, b).BranchID(), b},
		{ReplicaKey(b, p), ReplicaKey(b, p).Pool(), p},
		{ReplicaKey(b, p), ReplicaKey(b, p).BranchID(), b},
		{AliveKey(p), AliveKey(p).Pool(), p},
		{PoolKey(p), PoolKey(p).BranchID(), dot.BranchID{}},
		{EpochKey(b), EpochKey(b).Pool(), dot.PoolID{}},
		{NameKey(name), NameKey(name).FullName(), name},
		{UserKey(name.Namespace), UserKey(name.Namespace).FullName(), dot.FullName{}},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.key, tt.got, tt.want)
		}
	}
}

func TestKeysOutsideTheSchemaAreRefused(t *testing.T) {
	t.Parallel()
	id := dot.NewID().String()
	for _, s := range []string{
		"", "/", "cluster/", "cluster/x", "recovering/x", "dots", "dots/", "dots/x", "dots/" + id + "/", "dots/" + strings.ToUpper(id),
		"names/admin", "names/admin/a@b", "names//a", "branches/" + id, "pools/0", "pools/-1", "pools/18446744073709551616",
		"intents/abc", "unknown/" + id, "DOTS/" + id, "users/a b", "claims/" + strings.ToUpper(id), "claims/pvc-1",
	} {
		if k, err := ParseKey(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, k)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("cluster")
	f.Add("dots/2b0e3c52-66cb-4a4d-8a3b-3c64d1b0f3a1")
	f.Add("names/admin/a")
	f.Add("branches/2b0e3c52-66cb-4a4d-8a3b-3c64d1b0f3a1/master")
	f.Add("assignments/12/2b0e3c52-66cb-4a4d-8a3b-3c64d1b0f3a1")
	f.Add("intents/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	f.Add("users/../../x")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err != nil {
			if k != (Key{}) {
				t.Errorf("%q is refused, and yet gives %v", s, k)
			}
			return
		}
		if k.String() != s {
			t.Errorf("%q reads back as %q", s, k)
		}
		// None of these may panic, whatever the kind.
		_, _, _ = k.BranchID(), k.Pool(), k.FullName()
	})
}

func FuzzDecode(f *testing.F) {
	id, _ := dot.ParseID("2b0e3c52-66cb-4a4d-8a3b-3c64d1b0f3a1")
	f.Add([]byte(`{"ID":"2b0e3c52-66cb-4a4d-8a3b-3c64d1b0f3a1","FullName":{"Namespace":"admin","Name":"a"},"State":"ready"}`))
	f.Add([]byte(`{"Subdots":{"__root__":{}}}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		d, err := dotCodec.decode(DotKey(id), value)
		if err != nil {
			return
		}
		again, err := dotCodec.encode(DotKey(id), d)
		if err != nil {
			t.Fatalf("%q is read, but not written: %v", value, err)
		}
		if _, err := dotCodec.decode(DotKey(id), []byte(again)); err != nil {
			t.Errorf("%q is written as %q, which is not read: %v", value, again, err)
		}
	})
}
