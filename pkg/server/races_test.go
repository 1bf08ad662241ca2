package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

func TestACommitOfAStaleReadIsRefusedOnceItsBranchIsHidden(t *testing.T) {
	p := testPlane(t)
	c := add(t, p, "x", p.pool)
	stale := order{name: "s", branch: c.branch, commit: dot.Commit{Dot: c.dot.ID, Branch: c.branch.ID, Volume: c.volume.ID}}
	rec, err := p.store.FindBranch(t.Context(), c.branch.ID)
	if err != nil {
		t.Fatal(err)
	}
	hidden, err := p.hide(t.Context(), rec)
	if err != nil || hidden.Value.Epoch.Compare(c.branch.Epoch) <= 0 {
		t.Fatalf("got epoch %s, %v, want more than %s", hidden.Value.Epoch, err, c.branch.Epoch)
	}
	if _, err := p.beginCommit(t.Context(), stale); dot.CodeOf(err) != dot.CodeAborted || err == nil {
		t.Errorf("got %v, want CodeAborted", err)
	}
	if _, there, err := found(p.store.GetIntent(t.Context(), "s")); there || err != nil {
		t.Errorf("an intent was left: %v", err)
	}
	// Who looks only now finds the branch of the volume, which is hidden.
	_, err = p.createSnapshot(t.Context(), &v1.CreateSnapshotRequest{CsiName: "s", Volume: c.volume.ID.String()})
	if dot.CodeOf(err) != dot.CodeAborted || err == nil {
		t.Errorf("got %v, want CodeAborted", err)
	}
	tombstone, err := p.store.GetTombstone(t.Context(), c.branch.ID)
	if err != nil || tombstone.Value.Epoch != hidden.Value.Epoch {
		t.Errorf("got %+v, %v", tombstone.Value, err)
	}
}

// TestACommitOfWhatIsRememberedSeesWhatChanged: the intent of a volume that was
// committed before is written without a read, and only where nothing has changed.
func TestACommitOfWhatIsRememberedSeesWhatChanged(t *testing.T) {
	p := testPlane(t) // its pool is empty: every commit ends after its intent
	commit := func(c claim, name string) (store.Record[store.Intent], error) {
		_, _ = p.createSnapshot(t.Context(), &v1.CreateSnapshotRequest{CsiName: name, Volume: c.volume.ID.String()})
		return p.store.GetIntent(t.Context(), name)
	}
	c := add(t, p, "x", p.pool)
	if _, err := commit(c, "first"); err != nil {
		t.Fatal(err)
	}
	if from, ok := p.memory.recall(c.volume.ID); !ok || from.fresh {
		t.Fatalf("got %+v, %t, want what the commit read", from, ok)
	}
	c.volume.SizeBytes *= 2
	if err := p.store.Txn().PutVolume(c.volume).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i, err := commit(c, "grown"); err != nil || i.Value.Commit.SizeBytes != c.volume.SizeBytes {
		t.Errorf("after the volume had changed: got %d bytes, %v, want %d", i.Value.Commit.SizeBytes, err, c.volume.SizeBytes)
	}
	c.branch.Epoch = c.branch.Epoch.Next()
	if err := p.store.Txn().PutBranch(c.branch).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i, err := commit(c, "raised"); err != nil || i.Value.Epoch != c.branch.Epoch {
		t.Errorf("after the branch had changed: got epoch %s, %v, want %s", i.Value.Epoch, err, c.branch.Epoch)
	}
	if err := p.store.Txn().DeleteVolume(c.volume.ID).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i, err := commit(c, "late"); dot.CodeOf(err) != dot.CodeNotFound || err == nil {
		t.Errorf("after the volume had gone: got %+v, %v, want no intent", i.Value, err)
	}
	if _, ok := p.memory.recall(c.volume.ID); ok {
		t.Error("a volume that is gone is remembered")
	}
}

// TestADotGoesOrIsKept runs what keeps a dot for dm between the reads and the
// transaction of a deletion, and the other way round: one of the two is refused.
func TestADotGoesOrIsKept(t *testing.T) {
	p := testPlane(t)
	side, err := dot.ParseBranchName("side")
	if err != nil {
		t.Fatal(err)
	}
	for what, keep := range map[string]func(claim, dot.Commit) error{
		"a commit": func(c claim, _ dot.Commit) error {
			_, err := p.begin(t.Context(), order{name: dmIntent + c.dot.ID.String(), branch: c.branch, commit: dot.Commit{Dot: c.dot.ID, Branch: c.branch.ID}})
			return err
		},
		"a branch": func(c claim, at dot.Commit) error {
			req := &v1.CreateBranchRequest{Dot: c.dot.ID.String(), Commit: at.ID.String()}
			_, err := p.recordBranch(t.Context(), req, side)
			return err
		},
	} {
		for _, buriedFirst := range []bool{true, false} {
			c := add(t, p, fmt.Sprintf("%s-%t", strings.Fields(what)[1], buriedFirst), p.pool)
			at := dot.Commit{ID: dot.NewCommitID(), Dot: c.dot.ID, Branch: c.branch.ID, CSIName: c.dot.FullName.String()}
			if err := p.store.Txn().PutCommit(at).Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			v, err1 := p.store.GetVolume(t.Context(), c.volume.ID)
			d, err2 := p.store.GetDot(t.Context(), c.dot.ID)
			_, goes, err3 := p.dotGoes(t.Context(), d.Value, c.volume.ID)
			if err := errors.Join(err1, err2, err3); err != nil || !goes {
				t.Fatalf("goes is %t, %v", goes, err)
			}
			if buriedFirst {
				if err := p.bury(t.Context(), v, d); err != nil {
					t.Fatal(err)
				}
				if err := keep(c, at); err == nil {
					t.Errorf("%s was begun in a dot that is gone", what)
				}
				continue
			}
			if err := keep(c, at); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if err := p.bury(t.Context(), v, d); !errors.Is(err, store.ErrConflict) {
				t.Errorf("the dot went although %s was begun in it: %v", what, err)
			}
		}
	}
}

func TestCommitsOfDMThatBeginAtOnce(t *testing.T) {
	p := testPlane(t)
	c := add(t, p, "x", p.pool)
	const many = 4 * attempts
	results := make(chan error, many)
	for i := range many {
		go func() {
			_, err := p.begin(t.Context(), order{name: dmIntent + fmt.Sprint(i), branch: c.branch, commit: dot.Commit{Dot: c.dot.ID, Branch: c.branch.ID}})
			results <- err
		}()
	}
	for range many {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// beginReset writes the new head of a reset, and gives it as it is then and as it
// is to be.
func beginReset(t *testing.T, p *plane, c claim) (b, shown dot.Branch) {
	t.Helper()
	b = p.branchFrom(dot.Commit{ID: dot.NewCommitID(), Dot: c.dot.ID, Branch: c.branch.ID})
	name, err := hiddenName(c.branch.Name, b.ID)
	if err != nil {
		t.Fatal(err)
	}
	b.Hidden, b.Name = true, name
	if err := p.store.Txn().PutBranch(b).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	shown = b
	shown.Hidden, shown.State, shown.Name = false, dot.Ready, c.branch.Name
	return b, shown
}

// TestASwapThatAppliesLateIsRefused: its caller gave up, so that the new head was
// hidden for good meanwhile.
func TestASwapThatAppliesLateIsRefused(t *testing.T) {
	p := testPlane(t)
	c := add(t, p, "x", p.pool)
	b, shown := beginReset(t, p, c)
	rec, err := p.store.FindBranch(t.Context(), b.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.hide(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	err = p.recordSwap(t.Context(), c.branch, b, shown, map[dot.VolumeID]dot.Volume{c.volume.ID: c.volume})
	var conflict *store.Conflict
	if !errors.As(err, &conflict) || !conflict.On(store.EpochKey(b.ID)) {
		t.Errorf("got %v, want a conflict on the new head's epoch", err)
	}
	head, err := p.store.FindBranch(t.Context(), c.branch.ID)
	if err != nil || head.Value.Hidden || head.Value.Name != c.branch.Name {
		t.Errorf("the old head: got %+v, %v", head.Value, err)
	}
}

func TestAnIntentIsTakenUpAfterAReset(t *testing.T) {
	p := testPlane(t)
	c := add(t, p, "x", p.pool)
	o := order{name: "s", branch: c.branch, commit: dot.Commit{Dot: c.dot.ID, Branch: c.branch.ID, Volume: c.volume.ID}}
	left, err := p.begin(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b, shown := beginReset(t, p, c)
	if err := p.recordSwap(t.Context(), c.branch, b, shown, map[dot.VolumeID]dot.Volume{c.volume.ID: c.volume}); err != nil {
		t.Fatal(err)
	}
	o.branch, o.commit.Branch = shown, shown.ID
	again, err := p.begin(t.Context(), o)
	if err != nil || again.Value.Commit.Branch != shown.ID || again.Value.Commit.ID == left.Value.Commit.ID || again.Value.Epoch != shown.Epoch {
		t.Errorf("the volume was reset: got %+v, %v", again.Value, err)
	}
	retry, err := p.begin(t.Context(), o)
	if err != nil || retry.Value.Commit.ID != again.Value.Commit.ID {
		t.Errorf("a retry: got %+v, %v", retry.Value, err)
	}
	o.commit.Volume = dot.VolumeIDOf("another")
	if err := p.store.Txn().PutVolume(dot.Volume{ID: o.commit.Volume, State: dot.Ready}).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.begin(t.Context(), o); err == nil || dot.CodeOf(err) != dot.CodeExists {
		t.Errorf("another volume: got %v, want CodeExists", err)
	}
}

// TestASwapTakesAlongWhoJoinsMeanwhile: the swap moves the volumes that the dot
// has then, and raises the old head's epoch.
func TestASwapTakesAlongWhoJoinsMeanwhile(t *testing.T) {
	p := testPlane(t)
	c := add(t, p, "x", p.pool)
	b, shown := beginReset(t, p, c)
	// The dataset of the new head was made before the volume was there: telling
	// it is tried, and this test's pool is empty.
	err := p.recordSwap(t.Context(), c.branch, b, shown, nil)
	if dot.CodeOf(err) != dot.CodeNotFound || err == nil || !strings.Contains(err.Error(), b.ID.String()) {
		t.Errorf("got %v, want that the new head is not on this pool", err)
	}
	if err := p.recordSwap(t.Context(), c.branch, b, shown, map[dot.VolumeID]dot.Volume{c.volume.ID: c.volume}); err != nil {
		t.Fatal(err)
	}
	v, err1 := p.store.GetVolume(t.Context(), c.volume.ID)
	old, err2 := p.store.FindBranch(t.Context(), c.branch.ID)
	if err := errors.Join(err1, err2); err != nil || v.Value.Branch != shown.ID || old.Value.Epoch != c.branch.Epoch.Next() || !old.Value.Hidden {
		t.Errorf("got %+v, %+v, %v", v.Value, old.Value, err)
	}
	late := order{name: "s", branch: c.branch, commit: dot.Commit{Dot: c.dot.ID, Branch: c.branch.ID, Volume: c.volume.ID}}
	if _, err := p.begin(t.Context(), late); err == nil || dot.CodeOf(err) != dot.CodeAborted {
		t.Errorf("a commit of the old head: got %v, want CodeAborted", err)
	}
	if err := p.followReset(t.Context(), &c); err != nil || c.branch.ID != shown.ID {
		t.Errorf("got %+v, %v", c.branch, err)
	}
}
