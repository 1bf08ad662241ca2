package server

import (
	"errors"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine/pool"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

func claimID(t *testing.T) dot.ClaimID {
	t.Helper()
	id, err := dot.ParseClaimID(aClaim)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestWhoseAssignmentIsTheLast(t *testing.T) {
	id, of := claimID(t), dot.PoolIDOf(7)
	two := pool.Assignment{Claim: id, Generation: 2}
	fresh := store.Claim{ID: id, Generation: 2, Node: "here"}
	known := fresh
	known.Pool = of
	for name, c := range map[string]struct {
		was, want store.Claim
		err       error
	}{
		"no record":                   {store.Claim{}, fresh, nil},
		"an earlier one":              {store.Claim{ID: id, Generation: 1, Node: "there", Imported: true, Pool: of}, known, nil},
		"an earlier one, released":    {store.Claim{ID: id, Generation: 1, Node: "there", Imported: true, Released: true, Pool: of}, known, nil},
		"this one, not imported yet":  {fresh, fresh, nil},
		"this one, imported":          {store.Claim{ID: id, Generation: 2, Imported: true}, store.Claim{ID: id, Generation: 2, Imported: true}, nil},
		"this one, released":          {store.Claim{ID: id, Generation: 2, Released: true}, store.Claim{}, pool.ErrReleased},
		"a later one":                 {store.Claim{ID: id, Generation: 3}, store.Claim{}, pool.ErrGivenAway},
		"a later one, imported":       {store.Claim{ID: id, Generation: 9, Imported: true}, store.Claim{}, pool.ErrGivenAway},
		"a later one, released there": {store.Claim{ID: id, Generation: 3, Released: true}, store.Claim{}, pool.ErrGivenAway},
	} {
		got, err := assigned(c.was, two, "here")
		if !errors.Is(err, c.err) || err == nil && got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v, %v", name, got, err, c.want, c.err)
		}
		if err != nil && dot.CodeOf(err) != dot.CodePrecondition {
			t.Errorf("%s: %v would be tried again", name, err)
		}
	}
}

// Two servers of one disk: whoever has the later assignment has it, in whichever order
// they do what they do, and the other never again.
func TestClaimOfTwoServers(t *testing.T) {
	st := testStore(t)
	server := func(generation uint64) *Server {
		return &Server{cfg: Config{NodeName: "here"}, assignment: pool.Assignment{Claim: claimID(t), Generation: generation}}
	}
	first, second := server(1), server(2)
	release := func(c *store.Claim) { c.Released = true }
	imported := func(c *store.Claim) { c.Imported = true }
	must := func(s *Server, amend func(*store.Claim), want store.Claim) {
		t.Helper()
		want.ID, want.Node = claimID(t), "here"
		for range 2 { // a transaction whose answer was lost
			if got, err := s.amendClaim(t.Context(), st, amend); err != nil || got != want {
				if !want.Released || !errors.Is(err, pool.ErrReleased) {
					t.Errorf("got %+v, %v, want %+v", got, err, want)
				}
			}
		}
		if rec, err := st.GetClaim(t.Context(), want.ID); err != nil || rec.Value != want {
			t.Errorf("the record is %+v, %v, want %+v", rec.Value, err, want)
		}
	}
	refused := func(s *Server, amend func(*store.Claim), want error) {
		t.Helper()
		if _, err := s.amendClaim(t.Context(), st, amend); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	nothing := func(*store.Claim) {}
	must(first, nothing, store.Claim{Generation: 1})
	must(first, imported, store.Claim{Generation: 1, Imported: true})
	must(second, nothing, store.Claim{Generation: 2}) // the first has died, or was slow
	refused(first, imported, pool.ErrGivenAway)
	refused(first, nothing, pool.ErrGivenAway)
	refused(first, release, pool.ErrGivenAway)
	must(second, imported, store.Claim{Generation: 2, Imported: true})
	must(second, release, store.Claim{Generation: 2, Imported: true, Released: true})
	refused(second, nothing, pool.ErrReleased)
	must(server(3), nothing, store.Claim{Generation: 3})

	if got, err := (&Server{}).amendClaim(t.Context(), st, imported); err != nil || got != (store.Claim{}) {
		t.Errorf("a pool that stays: got %+v, %v", got, err)
	}
}
