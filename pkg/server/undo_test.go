package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// failingPool gives the plane a pool on which every command fails as it says.
func failingPool(t *testing.T, p *plane, says string) {
	t.Helper()
	scriptedPool(t, p, "echo \""+says+"\" >&2\nexit 1\n")
}

// scriptedPool gives the plane a pool whose every command is a script.
func scriptedPool(t *testing.T, p *plane, script string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "zfs")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	client, err := zfs.New(zfs.Config{ZFS: program, Zpool: program})
	if err != nil {
		t.Fatal(err)
	}
	root, err := zfs.ParseDataset("pool")
	if err != nil {
		t.Fatal(err)
	}
	p.engine, err = engine.Open(engine.Config{ZFS: client, Root: root, Identity: engine.Identity{Pool: p.pool}, ClusterID: p.cluster.ID, RunDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
}

const outOfSpace = "cannot create 'pool/dotmesh/x': out of space"

func claimRequest(name string) *v1.CreateVolumeRequest {
	uid := "0b0e6e2a-5f0a-4d52-9d6b-6f2f4b2a9a11"
	return &v1.CreateVolumeRequest{CsiName: "pvc-" + uid, PvcUid: uid, PvcName: "claim", KubernetesNamespace: "ns", DotName: name, RequiredBytes: 1 << 30}
}

// records counts the dots that have a name or are on their way out, and volumes.
func records(t *testing.T, p *plane) (named, going, volumes int) {
	t.Helper()
	dots, err := p.store.ListDots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dots {
		if d.Value.State == dot.Deleting {
			going++
			continue
		}
		named++
	}
	all, err := p.store.ListAllVolumes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return named, going, len(all)
}

func TestAVolumeThatCannotBeCreatedLeavesNothing(t *testing.T) {
	p := testPlane(t)
	failingPool(t, p, outOfSpace)
	for try := range 2 {
		_, err := p.createVolume(t.Context(), claimRequest("db"))
		if dot.CodeOf(err) != dot.CodeExhausted || err == nil {
			t.Fatalf("got %v, want CodeExhausted", err)
		}
		named, going, volumes := records(t, p)
		if named != 0 || going != try+1 || volumes != 0 {
			t.Errorf("try %d left %d dots, %d of them on their way out, and %d volumes", try, named+going, going, volumes)
		}
		full, _ := parseDotName("db")
		if _, there, err := p.lookup(t.Context(), full); there || err != nil {
			t.Errorf("the name is taken: %v", err)
		}
	}
}

func TestAVolumeThatMayStillBeCreatedIsKept(t *testing.T) {
	p := testPlane(t)
	failingPool(t, p, "cannot create 'pool/dotmesh/x': pool or dataset is busy")
	_, err := p.createVolume(t.Context(), claimRequest("db"))
	if err == nil || final(err) {
		t.Fatalf("got %v, want that it is tried again", err)
	}
	if named, going, volumes := records(t, p); named != 1 || going != 0 || volumes != 1 {
		t.Errorf("got %d, %d, %d", named, going, volumes)
	}
}

// TestAJoinThatFailsLeavesTheDot: it takes away only what it recorded itself.
func TestAJoinThatFailsLeavesTheDot(t *testing.T) {
	p := testPlane(t)
	c := add(t, p, "db", p.pool)
	c.dot.Owner = "ns"
	// It had volumes before, and is left with none.
	if err := p.store.Txn().PutDot(c.dot).DeleteVolume(c.volume.ID).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := p.createVolume(t.Context(), claimRequest("db")) // the branch is not on this pool
	if dot.CodeOf(err) != dot.CodeNotFound || err == nil {
		t.Fatalf("got %v, want CodeNotFound", err)
	}
	if named, going, volumes := records(t, p); named != 1 || going != 0 || volumes != 0 {
		t.Errorf("got %d dots, %d on their way out, %d volumes", named, going, volumes)
	}
}

func TestWhatWasChosenForAClaimHolds(t *testing.T) {
	p := testPlane(t)
	failingPool(t, p, "cannot create 'pool/dotmesh/x': pool or dataset is busy")
	if _, err := p.createVolume(t.Context(), claimRequest("db")); err == nil {
		t.Fatal("it was created")
	}
	edited := claimRequest("other")
	edited.Subdot, edited.Branch = "sub", "side"
	for what, code := range map[string]dot.Code{"annotations": dot.CodeAborted, "size": dot.CodeExists} {
		if what == "size" {
			edited.RequiredBytes *= 2
		}
		if _, err := p.createVolume(t.Context(), edited); err == nil || dot.CodeOf(err) != code {
			t.Errorf("other %s: got %v, want code %d", what, err, code)
		}
		edited.RequiredBytes = claimRequest("").RequiredBytes
	}
	// Who is no claim of Kubernetes says itself what it wants.
	edited.PvcUid = ""
	if _, err := p.createVolume(t.Context(), edited); err == nil || dot.CodeOf(err) != dot.CodeExists {
		t.Errorf("without a claim: got %v, want CodeExists", err)
	}
}

func TestADotOrBranchThatCannotBeCreatedLeavesNothing(t *testing.T) {
	p := testPlane(t)
	failingPool(t, p, outOfSpace)
	if _, err := p.createDot(t.Context(), &v1.CreateDotRequest{Dot: "db"}); err == nil || dot.CodeOf(err) != dot.CodeExhausted {
		t.Errorf("got %v, want CodeExhausted", err)
	}
	if named, going, _ := records(t, p); named != 0 || going != 1 {
		t.Errorf("got %d dots, %d on their way out", named+going, going)
	}
	c := add(t, p, "x", p.pool)
	at := dot.Commit{ID: dot.NewCommitID(), Dot: c.dot.ID, Branch: c.branch.ID, Sequence: 1}
	if err := p.store.Txn().PutCommit(at).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.createBranch(t.Context(), &v1.CreateBranchRequest{Dot: "x", Name: "side"}); err == nil || dot.CodeOf(err) != dot.CodeNotFound {
		t.Errorf("got %v, want CodeNotFound: the commit is not on this pool", err)
	}
	branches, err := p.store.ListBranches(t.Context(), c.dot.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range branches {
		if b.Value.Name != dot.MasterBranch && !b.Value.Hidden {
			t.Errorf("branch %q was left", b.Value.Name)
		}
	}
}

// unanswered makes the next change of a registry one whose caller has no answer.
type unanswered struct{ cancel context.CancelFunc }

func (u *unanswered) pass(_ context.Context, at crash.Point) {
	if at == store.PointTxnBefore && u.cancel != nil {
		u.cancel()
		u.cancel = nil
	}
}

// TestAnAnswerThatIsLostLeavesNoJobBehind: what a call would have had done in the
// background is done, because the change may have been made.
func TestAnAnswerThatIsLostLeavesNoJobBehind(t *testing.T) {
	u := &unanswered{}
	p := planeOn(t, hookedStore(t, u.pass))
	c, other := add(t, p, "x", p.pool), add(t, p, "other", p.pool)
	at := dot.Commit{ID: dot.NewCommitID(), Dot: other.dot.ID, Branch: other.branch.ID, Sequence: 1}
	if err := p.store.Txn().PutCommit(at).DeleteVolume(other.volume.ID).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	handle := other.dot.ID.String() + "/" + at.ID.String()
	for _, f := range []struct {
		what string
		call func(context.Context) error
		job  string // the key of the one that it asks for; "": one of its own
	}{
		{"DeleteVolume", func(ctx context.Context) error {
			_, err := p.deleteVolume(ctx, &v1.DeleteVolumeRequest{Volume: c.volume.ID.String()})
			return err
		}, p.dotJob(c.dot.ID).key},
		{"DeleteDot", func(ctx context.Context) error {
			_, err := p.deleteDot(ctx, &v1.DeleteDotRequest{Dot: "other"})
			return err
		}, p.dotJob(other.dot.ID).key},
		{"DeleteSnapshot", func(ctx context.Context) error {
			_, err := p.deleteSnapshot(ctx, &v1.DeleteSnapshotRequest{Handle: handle})
			return err
		}, p.commitJob(other.dot.ID, at.ID).key},
		{"CreateDot", func(ctx context.Context) error {
			_, err := p.createDot(ctx, &v1.CreateDotRequest{Dot: "new"})
			return err
		}, ""},
		{"CreateBranch", func(ctx context.Context) error {
			_, err := p.createBranch(ctx, &v1.CreateBranchRequest{Dot: "other", Name: "side"})
			return err
		}, ""},
	} {
		p.work = newWorker()
		ctx, cancel := context.WithCancel(t.Context())
		u.cancel = cancel
		err := f.call(ctx)
		cancel()
		if err == nil || final(err) {
			t.Errorf("%s: got %v, want that nobody knows", f.what, err)
		}
		if p.work.length() != 1 {
			t.Errorf("%s asked for %d jobs, want 1", f.what, p.work.length())
		}
		if _, asked := p.work.jobs[f.job]; f.job != "" && !asked {
			t.Errorf("%s did not ask for %q", f.what, f.job)
		}
	}
}

// work does the jobs that are due.
func work(t *testing.T, p *plane) {
	t.Helper()
	for next, _ := p.work.pick(time.Now()); next != nil; next, _ = p.work.pick(time.Now()) {
		p.work.do(t.Context(), next)
	}
}

// TestACommitThatFailsIsNotLeftHalfMade: on this pool there is no branch, so that
// each commit fails after its intent.
func TestACommitThatFailsIsNotLeftHalfMade(t *testing.T) {
	p := testPlane(t)
	c := add(t, p, "db", p.pool)
	raised := c.branch.Epoch
	expect := func(what string, intents, jobs int) {
		t.Helper()
		all, err1 := p.store.ListIntents(t.Context())
		b, err2 := p.store.FindBranch(t.Context(), c.branch.ID)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if len(all) != intents || p.work.length() != jobs || b.Value.Epoch != raised {
			t.Errorf("%s: got %d intents, %d jobs and epoch %s, want %d, %d and %s", what, len(all), p.work.length(), b.Value.Epoch, intents, jobs, raised)
		}
	}
	work := func() { work(t, p) }
	_, err := p.commitDot(t.Context(), &v1.CommitRequest{Dot: "db"})
	if dot.CodeOf(err) != dot.CodeNotFound || err == nil {
		t.Errorf("got %v, want CodeNotFound", err)
	}
	expect("dm, told that it failed", 1, 1)
	work()
	// A snapshot that appears now is of an epoch that passed.
	raised = raised.Next()
	expect("dm, undone", 0, 0)

	_, err = p.createSnapshot(t.Context(), &v1.CreateSnapshotRequest{CsiName: "s", Volume: c.volume.ID.String()})
	if dot.CodeOf(err) != dot.CodeNotFound || err == nil {
		t.Errorf("got %v, want CodeNotFound", err)
	}
	expect("a VolumeSnapshot, told that it failed", 1, 1)
	work()
	raised = raised.Next()
	expect("a VolumeSnapshot, undone", 0, 0)

	b, err := p.store.FindBranch(t.Context(), c.branch.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"s", dmIntent + "x"} {
		o := order{name: name, branch: b.Value, commit: dot.Commit{Dot: c.dot.ID, Branch: c.branch.ID}}
		if isCSI(name) {
			o.commit.Volume = c.volume.ID
		}
		if _, err := p.begin(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	late := dot.Errorf(dot.CodeDeadline, "too late")
	if err := p.endCommit(t.Context(), "s", c.volume.ID, late); !errors.Is(err, late) {
		t.Errorf("got %v, want the cause", err)
	}
	expect("a VolumeSnapshot that will be asked for again", 2, 0)
	other := dot.Errorf(dot.CodeExists, "another volume's")
	if err := p.endCommit(t.Context(), "s", dot.VolumeIDOf("another"), other); !errors.Is(err, other) {
		t.Errorf("got %v, want the cause", err)
	}
	expect("a name that is another volume's", 2, 0)
	if err := p.endCommit(t.Context(), dmIntent+"x", dot.VolumeID{}, late); !errors.Is(err, late) || !strings.Contains(err.Error(), "look at the log") {
		t.Errorf("got %v, want the cause, and what to do", err)
	}
	expect("dm, which did not wait", 2, 1)
	work()
	raised = raised.Next()
	expect("dm, settled", 1, 0)
}

// countingPool gives the plane a pool with a branch on which snapshots have the GUIDs
// 1, 2, 3. It gives how many were destroyed; a file of the name that it gives too
// makes each of them one that clones need.
func countingPool(t *testing.T, p *plane, c claim) (destroyed func() int, clones string) {
	t.Helper()
	dir := t.TempDir()
	clones = filepath.Join(dir, "clones")
	scriptedPool(t, p, "cd "+dir+`
echo >> $1
case $1 in
program) n=$(($(wc -l < program))); echo '{"return":{"1":{"errno":0,"guid":'$n',"createtxg":'$n'}}}' ;;
destroy) if [ -e clones ]; then echo "cannot destroy 'x': snapshot has dependent clones" >&2; exit 1; fi ;;
esac
`)
	if _, err := p.engine.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.engine.CreateBranch(t.Context(), engine.BranchSpec{Dot: c.dot, Branch: c.branch}); err != nil {
		t.Fatal(err)
	}
	return func() int {
		lines, err := os.ReadFile(filepath.Join(dir, "destroy"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return len(lines)
	}, clones
}

// half begins a commit of a key and takes its snapshot.
func half(t *testing.T, p *plane, c claim, key string) store.Record[store.Intent] {
	t.Helper()
	id, err1 := keyedCommit(c.branch.ID, key)
	b, err2 := p.store.FindBranch(t.Context(), c.branch.ID)
	i, err3 := p.begin(t.Context(), order{name: dmIntent + id.String(), branch: b.Value, commit: dot.Commit{ID: id, Dot: c.dot.ID, Branch: c.branch.ID}})
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	snapshot := i.Value.Commit
	snapshot.Epoch, snapshot.CSIName = i.Value.Epoch, ""
	if _, err := p.engine.Commit(t.Context(), snapshot); err != nil {
		t.Fatal(err)
	}
	return i
}

// forgetIntent is what an undoing leaves that ends after its transaction.
func forgetIntent(t *testing.T, p *plane, i store.Record[store.Intent]) {
	t.Helper()
	if err := p.store.Txn().DeleteIntent(i.Value.Commit.CSIName).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestAnUndoneSnapshotIsNotTakenForItsRetry: what a key commits is what is there when
// its commit is begun.
func TestAnUndoneSnapshotIsNotTakenForItsRetry(t *testing.T) {
	p := testPlane(t)
	c := add(t, p, "db", p.pool)
	destroyed, clones := countingPool(t, p, c)
	commit := func(key string) (uint64, error) {
		res, err := p.commitDot(t.Context(), &v1.CommitRequest{Dot: "db", IdempotencyKey: key})
		if err != nil {
			return 0, err
		}
		id, err1 := dot.ParseCommitID(res.Commit.Id)
		made, err2 := p.store.GetCommit(t.Context(), c.dot.ID, id)
		return made.Value.GUID, errors.Join(err1, err2)
	}
	half(t, p, c, "taken up")
	if guid, err := commit("taken up"); guid != 1 || err != nil || destroyed() != 0 {
		t.Errorf("a commit that was begun: got GUID %d, %v, %d destroyed", guid, err, destroyed())
	}
	forgetIntent(t, p, half(t, p, c, "undone")) // 2
	if guid, err := commit("undone"); guid != 3 || err != nil || destroyed() != 1 {
		t.Errorf("a commit that was undone: got GUID %d, %v, %d destroyed", guid, err, destroyed())
	}
	forgetIntent(t, p, half(t, p, c, "needed")) // 4
	if err := os.WriteFile(clones, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second try finds it marked
		if guid, err := commit("needed"); err == nil || dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), "another key") {
			t.Errorf("a commit that clones need: got GUID %d, %v, want CodePrecondition", guid, err)
		}
	}
	if all, err := p.store.ListIntents(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("got the intents %v, %v", all, err)
	}
}

// TestAnUndoingWhoseAnswerWasLostIsGoneOnWith: the job comes again, and its intent is
// gone.
func TestAnUndoingWhoseAnswerWasLostIsGoneOnWith(t *testing.T) {
	p := testPlane(t)
	c := add(t, p, "db", p.pool)
	destroyed, _ := countingPool(t, p, c)
	i := half(t, p, c, "undone")
	name := i.Value.Commit.CSIName
	forgetIntent(t, p, i)
	p.work.soon(p.intentJob(name, i.Value.Commit, true))
	work(t, p)
	if taken, err := p.isTaken(i.Value.Commit); taken || err != nil || destroyed() != 1 {
		t.Errorf("undone: taken is %t, %v, %d destroyed", taken, err, destroyed())
	}
	i = half(t, p, c, "made")
	if _, err := p.takeCommit(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	p.work.soon(p.intentJob(i.Value.Commit.CSIName, i.Value.Commit, true))
	work(t, p)
	if taken, err := p.isTaken(i.Value.Commit); !taken || err != nil || destroyed() != 1 {
		t.Errorf("recorded: taken is %t, %v, %d destroyed", taken, err, destroyed())
	}
}

// TestASnapshotOfAVolumeThatIsGoneIsUndone: nobody comes again for what an earlier
// try began.
func TestASnapshotOfAVolumeThatIsGoneIsUndone(t *testing.T) {
	p := testPlane(t)
	c := add(t, p, "db", p.pool)
	o := order{name: "s", branch: c.branch, commit: dot.Commit{Dot: c.dot.ID, Branch: c.branch.ID, Volume: c.volume.ID}}
	if _, err := p.begin(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := p.store.Txn().DeleteVolume(c.volume.ID).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := p.createSnapshot(t.Context(), &v1.CreateSnapshotRequest{CsiName: "s", Volume: c.volume.ID.String()})
	if err == nil || dot.CodeOf(err) != dot.CodeNotFound {
		t.Errorf("got %v, want CodeNotFound", err)
	}
	work(t, p)
	if all, err := p.store.ListIntents(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("got the intents %v, %v", all, err)
	}
}
