package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
)

func wantConflict(t *testing.T, err error, keys ...Key) {
	t.Helper()
	var conflict *Conflict
	if !errors.Is(err, ErrConflict) || !errors.As(err, &conflict) || dot.CodeOf(err) != dot.CodeAborted {
		t.Fatalf("got %v, want a conflict of code Aborted", err)
	}
	if got, want := fmt.Sprint(conflict.Keys), fmt.Sprint(keys); got != want {
		t.Errorf("got a conflict on %s, want on %s", got, want)
	}
}

func TestConditionsThatFailAreNamedAndChangeNothing(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 20*time.Second)
	name := fullName(t, "admin", "taken")
	d := dot.Dot{ID: dot.NewID(), FullName: name, State: dot.Creating}
	b := dot.Branch{ID: dot.NewBranchID(), Dot: d.ID, Name: dot.MasterBranch, State: dot.Creating, Epoch: dot.Epoch{Incarnation: 1, Number: 1}}
	txn := s.Txn().ClaimName(name, d.ID).PutDot(d).PutBranch(b)
	commit(t, txn)
	changed := d
	changed.State = dot.Ready

	for _, tt := range []struct {
		name string
		txn  *Txn
		keys []Key
	}{
		{"name taken", s.Txn().ClaimName(name, dot.NewID()), []Key{NameKey(name)}},
		{"changed since", s.Txn().Unchanged(DotKey(d.ID), txn.Revision()-1), []Key{DotKey(d.ID)}},
		{"another epoch", s.Txn().Epoch(b.ID, b.Epoch.Next()), []Key{EpochKey(b.ID)}},
		{"no branch", s.Txn().Epoch(dot.BranchIDOf(dot.VolumeID{}), b.Epoch), []Key{EpochKey(dot.BranchIDOf(dot.VolumeID{}))}},
		{"not there", s.Txn().Present(PoolKey(dot.PoolIDOf(1))), []Key{PoolKey(dot.PoolIDOf(1))}},
		{"one of two", s.Txn().Epoch(b.ID, b.Epoch).Absent(DotKey(d.ID)), []Key{DotKey(d.ID)}},
		{"two of two", s.Txn().Absent(NameKey(name)).Absent(DotKey(d.ID)), []Key{NameKey(name), DotKey(d.ID)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantConflict(t, tt.txn.PutDot(changed).Commit(ctx), tt.keys...)
			if got, err := s.GetDot(ctx, d.ID); err != nil || got.Value.State != dot.Creating || got.Revision != txn.Revision() {
				t.Errorf("it was changed all the same: %+v, %v", got, err)
			}
		})
	}
	commit(t, s.Txn().Epoch(b.ID, b.Epoch).Unchanged(DotKey(d.ID), txn.Revision()).Present(NameKey(name)).PutDot(changed))
	if got, err := s.GetDot(ctx, d.ID); err != nil || got.Value.State != dot.Ready {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestEpochIsComparedAloneWhateverElseChanges(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := dot.Branch{ID: dot.NewBranchID(), Dot: dot.NewID(), Name: dot.MasterBranch, State: dot.Creating, Epoch: dot.Epoch{Incarnation: 2, Number: 7}}
	commit(t, s.Txn().PutBranch(b))
	b.State = dot.Ready
	commit(t, s.Txn().PutBranch(b))
	commit(t, s.Txn().Epoch(b.ID, b.Epoch))
	old := b.Epoch
	b.Epoch = old.Next()
	commit(t, s.Txn().Epoch(b.ID, old).PutBranch(b))
	wantConflict(t, s.Txn().Epoch(b.ID, old).Commit(within(t, 5*time.Second)), EpochKey(b.ID))
}

func TestBranchesMoveAndGo(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 20*time.Second)
	d := dot.NewID()
	old := dot.Branch{ID: dot.NewBranchID(), Dot: d, Name: dot.MasterBranch, State: dot.Ready}
	commit(t, s.Txn().PutBranch(old))
	// A reset: the old head gets another name, a new one its name.
	aside := old
	aside.Name, aside.Hidden = branchName(t, "master-replaced"), true
	fresh := dot.Branch{ID: dot.NewBranchID(), Dot: d, Name: dot.MasterBranch, State: dot.Ready}
	commit(t, s.Txn().DeleteBranch(old).PutBranch(aside).PutBranch(fresh))
	if got, err := s.FindBranch(ctx, old.ID); err != nil || got.Value.Name != aside.Name || !got.Value.Hidden {
		t.Errorf("the old head: got %+v, %v", got.Value, err)
	}
	if got, err := s.GetBranch(ctx, d, dot.MasterBranch); err != nil || got.Value.ID != fresh.ID {
		t.Errorf("the new head: got %+v, %v", got.Value, err)
	}
	if all, err := s.ListBranches(ctx, d); err != nil || len(all) != 2 {
		t.Errorf("got %d branches (%v), want 2", len(all), err)
	}
	commit(t, s.Txn().DeleteBranch(aside).DeleteBranch(fresh))
	_, err := s.FindBranch(ctx, old.ID)
	wantCode(t, err, dot.CodeNotFound)
	if items, _, err := s.scan(ctx, everything); err != nil || len(items) != 0 {
		t.Errorf("left behind: %v, %v", items, err)
	}
}

func TestLastChangeOfAKeyCounts(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 10*time.Second)
	v := dot.Volume{ID: dot.VolumeIDOf("v"), State: dot.Creating}
	ready := v
	ready.State = dot.Ready
	commit(t, s.Txn().PutVolume(v).DeleteVolume(v.ID).PutVolume(ready))
	if got, err := s.GetVolume(ctx, v.ID); err != nil || got.Value.State != dot.Ready {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestTransactionsThatCannotBeAreRefusedBeforeEtcd(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), within(t, 10*time.Second)
	many := s.Txn()
	for i := range maxTxnOps + 1 {
		many.PutPool(dot.Pool{ID: dot.PoolIDOf(uint64(i + 1))})
	}
	large := s.Txn().PutCommit(dot.Commit{ID: dot.NewCommitID(), Dot: dot.NewID(), Branch: dot.NewBranchID(), Message: strings.Repeat("x", MaxTxnBytes)})
	for name, txn := range map[string]*Txn{
		"too many": many, "too large": large,
		"no id":    s.Txn().PutDot(dot.Dot{State: dot.Ready}),
		"no state": s.Txn().PutVolume(dot.Volume{ID: dot.VolumeIDOf("v")}),
		"no name":  s.Txn().PutName(dot.FullName{}, dot.NewID()),
	} {
		if err := txn.Commit(ctx); err == nil || errors.Is(err, ErrConflict) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if items, _, err := s.scan(ctx, everything); err != nil || len(items) != 0 {
		t.Errorf("got %d keys, %v", len(items), err)
	}
}

func TestConcurrentChangesLoseNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	pool := dot.PoolIDOf(1)
	commit(t, s.Txn().PutPool(dot.Pool{ID: pool}))
	const writers, each = 8, 5
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				p, err := s.GetPool(context.Background(), pool)
				if err != nil {
					t.Error(err)
					return
				}
				p.Value.Generation++
				switch err := s.Txn().Unchanged(PoolKey(pool), p.Revision).PutPool(p.Value).Commit(context.Background()); {
				case err == nil:
					done++
				case !errors.Is(err, ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got, err := s.GetPool(within(t, 5*time.Second), pool); err != nil || got.Value.Generation != writers*each {
		t.Errorf("got %d (%v), want %d", got.Value.Generation, err, writers*each)
	}
}

// TestCrashAtEachPoint ends the goroutine at each point that taking a lease, a
// change and giving the lease up pass, as a killed process would, and tries
// again.
func TestCrashAtEachPoint(t *testing.T) {
	t.Parallel()
	me := Instance{"server-1", "boot-1"}
	run := func(s *Store) {
		l, err := s.AcquirePoolLease(context.Background(), dot.PoolIDOf(1), me, 3*time.Second)
		if err == nil {
			err = s.Txn().Held(l).PutPool(dot.Pool{ID: dot.PoolIDOf(1)}).Commit(context.Background())
			l.Revoke(context.Background())
		}
		if err != nil {
			t.Error(err)
		}
	}
	for _, point := range Points() {
		if point == PointRenewBefore || point == PointRenewAfter {
			continue // passed by the lease's own goroutine: see TestLeaseIsRenewed
		}
		t.Run(string(point), func(t *testing.T) {
			cfg := Config{Endpoints: []string{shared.endpoint(t)}, Prefix: "/" + t.Name() + "/"}
			hit := false
			cfg.Hook = func(_ context.Context, p crash.Point) {
				if p == point {
					hit = true
					runtime.Goexit()
				}
			}
			crashing := openAt(t, cfg)
			gone := make(chan struct{})
			go func() { defer close(gone); run(crashing) }()
			<-gone
			if !hit {
				t.Fatal("the point was not passed")
			}
			crashing.Close()
			cfg.Hook = nil
			again := openAt(t, cfg)
			run(again)
			items, _, err := again.scan(within(t, 5*time.Second), everything)
			if err != nil || len(items) != 1 || items[0].key != PoolKey(dot.PoolIDOf(1)) {
				t.Errorf("the registry holds %v (%v), want the pool alone", items, err)
			}
		})
	}
}
