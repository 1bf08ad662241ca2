package store

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestConfigIsValidated(t *testing.T) {
	t.Parallel()
	tls := &TLS{CAFile: "/ca.crt"}
	for _, tt := range []struct {
		name string
		cfg  Config
		ok   bool
	}{
		{"nothing", Config{}, false},
		{"no scheme", Config{Endpoints: []string{"127.0.0.1:2379"}}, false},
		{"relative socket", Config{Endpoints: []string{"unix://etcd.sock"}}, false},
		{"socket", Config{Endpoints: []string{"unix:///run/etcd.sock"}}, true},
		{"https without CA", Config{Endpoints: []string{"https://etcd:2379"}}, false},
		{"https", Config{Endpoints: []string{"https://etcd:2379"}, TLS: tls}, true},
		{"CA without https", Config{Endpoints: []string{"http://etcd:2379"}, TLS: tls}, false},
		{"mixed", Config{Endpoints: []string{"https://a:2379", "http://b:2379"}, TLS: tls}, false},
		{"prefix", Config{Endpoints: []string{"http://etcd:2379"}, Prefix: "/dotmesh"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.cfg.Validate(); (err == nil) != tt.ok {
				t.Errorf("got %v, want ok %v", err, tt.ok)
			}
		})
	}
}

func TestEverythingReadsBackAsWritten(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 20*time.Second)
	now := time.Now().UTC().Truncate(time.Second)
	pool := dot.PoolIDOf(1234567890123456789)
	d := dot.Dot{
		ID: dot.NewID(), FullName: fullName(t, "admin", "shop"), State: dot.Ready, MadeByPVC: true, Owner: "shop",
		Shares: dot.Shares{Namespaces: []string{"other"}}, Created: now,
	}
	d.AssignSubdot(dot.DefaultSubdot, true)
	d.AssignSubdot(dot.RootSubdot, true)
	b := dot.Branch{
		ID: dot.NewBranchID(), Dot: d.ID, Name: dot.MasterBranch, State: dot.Creating, Master: pool,
		Origin: &dot.Origin{Branch: dot.NewBranchID(), Commit: dot.NewCommitID()}, Epoch: dot.Epoch{Incarnation: 1, Number: 4}, Created: now,
	}
	v := dot.Volume{
		ID: dot.VolumeIDOf("pvc-1"), CSIName: "pvc-1", State: dot.Deleting, Dot: d.ID, Branch: b.ID, Subdot: dot.DefaultSubdot, SizeBytes: 1 << 30,
		Source:       &dot.SnapshotHandle{Dot: d.ID, Commit: dot.NewCommitID()},
		Publications: map[string]dot.Publication{"node-1": {Node: "node-1", Since: now}}, Created: now,
	}
	c := dot.Commit{
		ID: dot.NewCommitID(), Dot: d.ID, Branch: b.ID, GUID: 18446744073709551615, Sequence: 1, Author: "ä <b>", Message: "a\nb",
		Time: now, Metadata: dot.Metadata{"a": "b"}, CSIName: "snapshot-1 ☃", Volume: v.ID, Subdot: dot.RootSubdot, Tags: []string{"v1"},
	}
	snapshot := Snapshot{CSIName: c.CSIName, Dot: d.ID, Commit: c.ID, Volume: v.ID}
	intent := Intent{Epoch: b.Epoch, Commit: c}
	p := dot.Pool{ID: pool, Name: "pool", Node: "node-1", Health: "ONLINE", PromisedFence: 60 * time.Second}
	tombstone := Tombstone{Branch: b.ID, Dot: d.ID, Pools: []dot.PoolID{pool}, Deleted: now}
	assignment := Assignment{Pool: pool, Branch: b.ID, Dot: d.ID, Role: RoleMaster}
	replica := Replica{Branch: b.ID, Pool: pool, LastCommit: c.ID, BytesBehind: 7}
	user := User{Name: dot.DefaultNamespace, Role: "admin", APIKeyHash: "x", Created: now}
	claim := Claim{ID: aClaim(t), Generation: 3, Node: "node-1", Imported: true, Pool: pool}
	txn := s.Txn().PutDot(d).ClaimName(d.FullName, d.ID).PutBranch(b).PutVolume(v).PutCommit(c).PutSnapshot(snapshot).PutIntent(intent).
		PutPool(p).PutTombstone(tombstone).PutAssignment(assignment).PutReplica(replica).PutUser(user).PutClaim(claim)
	commit(t, txn)

	check := func(what string, rev int64, got, want any, err error) {
		t.Helper()
		if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); err != nil || g != w || rev != txn.Revision() {
			t.Errorf("%s: got %s at %d (%v), want %s at %d", what, g, rev, err, w, txn.Revision())
		}
	}
	gotDot, err := s.GetDot(ctx, d.ID)
	check("dot", gotDot.Revision, gotDot.Value, d, err)
	gotName, err := s.LookupName(ctx, d.FullName)
	check("name", gotName.Revision, gotName.Value, d.ID, err)
	names, err := s.ListNames(ctx)
	check("names", gotName.Revision, names[d.FullName], d.ID, err)
	gotBranch, err := s.FindBranch(ctx, b.ID)
	gotOrigin := gotBranch.Value.Origin
	gotBranch.Value.Origin = b.Origin
	check("branch", gotBranch.Revision, gotBranch.Value, b, err)
	check("origin", gotBranch.Revision, *gotOrigin, *b.Origin, err)
	gotVolume, err := s.GetVolume(ctx, v.ID)
	gotSource := gotVolume.Value.Source
	gotVolume.Value.Source = v.Source
	check("volume", gotVolume.Revision, gotVolume.Value, v, err)
	check("source", gotVolume.Revision, *gotSource, *v.Source, err)
	gotCommit, err := s.GetCommit(ctx, d.ID, c.ID)
	check("commit", gotCommit.Revision, gotCommit.Value, c, err)
	gotSnapshot, err := s.GetSnapshot(ctx, c.CSIName)
	check("snapshot", gotSnapshot.Revision, gotSnapshot.Value, snapshot, err)
	gotIntent, err := s.GetIntent(ctx, c.CSIName)
	check("intent", gotIntent.Revision, gotIntent.Value, intent, err)
	gotPool, err := s.GetPool(ctx, pool)
	check("pool", gotPool.Revision, gotPool.Value, p, err)
	gotTombstone, err := s.GetTombstone(ctx, b.ID)
	check("tombstone", gotTombstone.Revision, gotTombstone.Value, tombstone, err)
	gotAssignments, err := s.ListAssignments(ctx, pool)
	check("assignments", txn.Revision(), gotAssignments, []Record[Assignment]{{assignment, txn.Revision()}}, err)
	gotReplicas, err := s.ListReplicas(ctx, b.ID)
	check("replicas", txn.Revision(), gotReplicas, []Record[Replica]{{replica, txn.Revision()}}, err)
	gotUser, err := s.GetUser(ctx, user.Name)
	check("user", gotUser.Revision, gotUser.Value, user, err)
	gotClaim, err := s.GetClaim(ctx, claim.ID)
	check("claim", gotClaim.Revision, gotClaim.Value, claim, err)
}

// A claim is written before the pool on it is known.
func TestClaimWithoutAPool(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 10*time.Second)
	if _, err := s.GetClaim(ctx, aClaim(t)); dot.CodeOf(err) != dot.CodeNotFound {
		t.Errorf("before: got %v", err)
	}
	want := Claim{ID: aClaim(t), Generation: 1, Node: "node-1"}
	commit(t, s.Txn().Absent(ClaimKey(want.ID)).PutClaim(want))
	if got, err := s.GetClaim(ctx, want.ID); err != nil || fmt.Sprint(got.Value) != fmt.Sprint(want) {
		t.Errorf("got %+v, %v, want %+v", got.Value, err, want)
	}
	if err := s.Txn().PutClaim(Claim{ID: want.ID}).Commit(ctx); err == nil {
		t.Error("a claim of no generation was written")
	}
}

func TestListPublishedTo(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 10*time.Second)
	for name, nodes := range map[string][]string{"none": nil, "here": {"node-1"}, "both": {"node-1", "node-2"}, "there": {"node-2"}, "node-1": {"node-10"}} {
		v := dot.Volume{ID: dot.VolumeIDOf(name), CSIName: name, State: dot.Ready, Publications: map[string]dot.Publication{}}
		for _, node := range nodes {
			v.Publications[node] = dot.Publication{Node: node}
		}
		commit(t, s.Txn().PutVolume(v))
	}
	volumes, err := s.ListPublishedTo(ctx, "node-1")
	got := map[string]bool{}
	for _, v := range volumes {
		got[v.Value.CSIName] = true
	}
	if err != nil || !maps.Equal(got, map[string]bool{"here": true, "both": true}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDamagedValuesAreNamed(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 10*time.Second)
	id, other := dot.NewID(), dot.NewID()
	good := fmt.Sprintf(`{"ID":%q,"FullName":{"Namespace":"admin","Name":"a"},"State":"ready"`, id)
	for name, value := range map[string]string{
		"empty":           "",
		"not JSON":        "{",
		"trailing":        good + `}{}`,
		"unknown state":   strings.Replace(good, "ready", "new", 1) + `}`,
		"another's value": strings.Replace(good, id.String(), other.String(), 1) + `}`,
		"bad name":        strings.Replace(good, `"a"`, `"a@b"`, 1) + `}`,
		"no name":         strings.Replace(good, `"a"`, `""`, 1) + `}`,
		"null":            "null",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.client.Put(ctx, s.full(DotKey(id)), value); err != nil {
				t.Fatal(err)
			}
			_, err := s.GetDot(ctx, id)
			wantCode(t, err, dot.CodeInternal)
			if !strings.Contains(err.Error(), DotKey(id).String()) {
				t.Errorf("the error does not name the key: %v", err)
			}
			if _, err := s.ListDots(ctx); err == nil {
				t.Error("a list with a damaged value succeeded")
			}
		})
	}
}

func TestForeignKeyIsNamed(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 10*time.Second)
	if _, err := s.client.Put(ctx, s.prefix+"dots/../x", "{}"); err != nil {
		t.Fatal(err)
	}
	_, err := s.ListDots(ctx)
	if err == nil || !strings.Contains(err.Error(), "dots/../x") {
		t.Errorf("got %v, want an error that names the key", err)
	}
}

func TestListsArePaged(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 60*time.Second)
	const many = 2*pageSize + 7
	txn := s.Txn()
	for i := range many {
		id := dot.VolumeIDOf(fmt.Sprint("pvc-", i))
		txn.PutVolume(dot.Volume{ID: id, CSIName: fmt.Sprint("pvc-", i), State: dot.Ready})
		if len(txn.changes) == maxTxnOps || i == many-1 {
			commit(t, txn)
			txn = s.Txn()
		}
	}
	all, err := s.ListAllVolumes(ctx)
	if err != nil || len(all) != many {
		t.Fatalf("got %d volumes (%v), want %d", len(all), err, many)
	}
	for _, limit := range []int{0, 100, 10_000} {
		var after dot.VolumeID
		seen := map[dot.VolumeID]bool{}
		for more := true; more; {
			var volumes []Record[dot.Volume]
			if volumes, more, err = s.ListVolumes(ctx, after, limit); err != nil {
				t.Fatal(err)
			}
			if len(volumes) == 0 || len(volumes) > pageSize || limit == 100 && len(volumes) > 100 {
				t.Fatalf("limit %d: got a page of %d", limit, len(volumes))
			}
			for _, v := range volumes {
				seen[v.Value.ID] = true
			}
			after = volumes[len(volumes)-1].Value.ID
		}
		if len(seen) != many {
			t.Errorf("limit %d: got %d different volumes, want %d", limit, len(seen), many)
		}
	}
}

func TestListVolumesOfTellsDotsApart(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 60*time.Second)
	mine, other := dot.NewID(), dot.NewID()
	fromMine := &dot.SnapshotHandle{Dot: mine, Commit: dot.NewCommitID()}
	txn := s.Txn()
	want := map[dot.VolumeID]bool{}
	for i, v := range []dot.Volume{{Dot: mine}, {Dot: other}, {Dot: other, Source: fromMine}, {Dot: mine, Source: fromMine}, {}} {
		v.CSIName, v.State = fmt.Sprint("pvc-", i), dot.Ready
		v.ID = dot.VolumeIDOf(v.CSIName)
		if v.Dot == mine {
			want[v.ID] = true
		}
		txn.PutVolume(v)
	}
	commit(t, txn)
	volumes, err := s.ListVolumesOf(ctx, mine)
	if err != nil {
		t.Fatal(err)
	}
	got := map[dot.VolumeID]bool{}
	for _, v := range volumes {
		got[v.Value.ID] = v.Revision > 0
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestScanStartsAgainAfterCompaction(t *testing.T) {
	t.Parallel()
	s, ctx := openOwn(t), within(t, 20*time.Second)
	commit(t, s.Txn().PutPool(dot.Pool{ID: dot.PoolIDOf(1)}))
	_, _, old, err := s.pageOf(ctx, everything, s.prefix, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s.Txn().PutPool(dot.Pool{ID: dot.PoolIDOf(2)}))
	compact(t, s)
	_, _, _, err = s.pageOf(ctx, everything, s.prefix, 1, old)
	if !isCompacted(err) {
		t.Fatalf("got %v, want the error that makes scan start again", err)
	}
}

// compact forgets all revisions but the present one.
func compact(t *testing.T, s *Store) {
	t.Helper()
	revision, err := s.Revision(within(t, 10*time.Second))
	if err == nil {
		_, err = s.client.Compact(within(t, 10*time.Second), revision, clientv3.WithCompactPhysical())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestEtcdAwayIsUnavailableInTime(t *testing.T) {
	t.Parallel()
	endpoint, stop, start := ownEtcd(t)
	s := openAt(t, Config{Endpoints: []string{endpoint}, RequestTimeout: time.Second})
	id := dot.NewID()
	d := dot.Dot{ID: id, FullName: fullName(t, "admin", "a"), State: dot.Ready}
	commit(t, s.Txn().PutDot(d))
	stop()

	for name, do := range map[string]func(context.Context) error{
		"get":   func(ctx context.Context) error { _, err := s.GetDot(ctx, id); return err },
		"list":  func(ctx context.Context) error { _, err := s.ListDots(ctx); return err },
		"txn":   func(ctx context.Context) error { return s.Txn().PutDot(d).Commit(ctx) },
		"ping":  s.Ping,
		"empty": func(ctx context.Context) error { _, err := s.Empty(ctx); return err },
		"lease": func(ctx context.Context) error {
			_, err := s.AcquirePoolLease(ctx, dot.PoolIDOf(1), Instance{"a", "b"}, 5*time.Second)
			return err
		},
		"open": func(ctx context.Context) error {
			_, err := Open(ctx, Config{Endpoints: []string{endpoint}, DialTimeout: time.Second})
			return err
		},
	} {
		began := time.Now()
		err := do(context.Background())
		if took := time.Since(began); dot.CodeOf(err) != dot.CodeUnavailable || took > 3*time.Second {
			t.Errorf("%s: got %v after %s, want CodeUnavailable within 3 s", name, err, took)
		}
		if err != nil && !strings.Contains(err.Error(), endpoint) {
			t.Errorf("%s: the error does not say where etcd is expected: %v", name, err)
		}
	}
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	wantCode(t, s.Ping(short), dot.CodeUnavailable)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	wantCode(t, s.Ping(cancelled), dot.CodeAborted)

	start()
	eventually(t, 10*time.Second, "the store works again", func() bool { return s.Ping(context.Background()) == nil })
	if got, err := s.GetDot(within(t, 5*time.Second), id); err != nil || got.Value.ID != id {
		t.Errorf("after the restart got %v, %v", got, err)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 20*time.Second)
	_, err := s.GetCluster(ctx)
	wantCode(t, err, dot.CodeNotFound)
	first, err := s.EnsureCluster(ctx)
	if err != nil || first.Value.Incarnation != 1 || first.Revision == 0 {
		t.Fatalf("got %+v, %v", first, err)
	}
	if again, err := s.EnsureCluster(ctx); err != nil || again != first {
		t.Errorf("got %+v (%v), want %+v", again, err, first)
	}
	if other, err := s.createCluster(ctx, Cluster{ID: "2b0e3c52-66cb-4a4d-8a3b-3c64d1b0f3a1", Incarnation: 9}); err != nil || other != first {
		t.Errorf("got %+v (%v), want the one that was first, %+v", other, err, first)
	}
	if _, err := s.createCluster(ctx, Cluster{ID: "mine", Incarnation: 1}); err == nil {
		t.Error("an id that is no UUID was accepted")
	}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 20*time.Second)
	if _, err := s.EnsureCluster(ctx); err != nil {
		t.Fatal(err)
	}
	commit(t, s.Txn().PutPool(dot.Pool{ID: dot.PoolIDOf(1)}).PutUser(User{Name: dot.DefaultNamespace}))
	if empty, err := s.Empty(ctx); err != nil || !empty {
		t.Errorf("with a pool and a user: got %v, %v", empty, err)
	}
	commit(t, s.Txn().PutVolume(dot.Volume{ID: dot.VolumeIDOf("a"), State: dot.Ready}))
	if empty, err := s.Empty(ctx); err != nil || empty {
		t.Errorf("with a volume: got %v, %v", empty, err)
	}
}

func TestUnusableTLSFilesAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.pem")
	if err := os.WriteFile(garbage, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, files := range []TLS{{CAFile: filepath.Join(dir, "none")}, {CAFile: garbage}} {
		_, err := Open(context.Background(), Config{Endpoints: []string{"https://127.0.0.1:1"}, TLS: &files})
		wantCode(t, err, dot.CodeInvalid)
	}
}
