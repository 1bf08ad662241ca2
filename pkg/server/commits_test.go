package server

import (
	"slices"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// TestHistoryStopsWhereABranchBegan: also when the commit there is gone or on its
// way out.
func TestHistoryStopsWhereABranchBegan(t *testing.T) {
	p := testPlane(t)
	old := dot.Branch{ID: dot.NewBranchID(), Name: dot.MasterBranch}
	of := func(b dot.Branch, sequence uint64, message string) dot.Commit {
		return dot.Commit{ID: dot.NewCommitID(), Branch: b.ID, Sequence: sequence, Message: message}
	}
	first, second, third, fourth := of(old, 1, "1"), of(old, 2, "2"), of(old, 4, "3"), of(old, 5, "4")
	side := p.branchFrom(second)
	own := of(side, 1, "own")
	leaf := p.branchFrom(own)
	last := of(leaf, 1, "last")
	going := second
	going.Deleting = true
	nameless := side
	nameless.Origin = &dot.Origin{Branch: old.ID, Commit: second.ID} // of an older server
	for _, c := range []struct {
		what    string
		of      dot.Branch
		side    dot.Branch
		commits []dot.Commit
		want    []string
	}{
		{"the old head", old, side, []dot.Commit{first, second, third, fourth, own}, []string{"1", "2", "3", "4"}},
		{"all are there", side, side, []dot.Commit{first, second, third, fourth, own}, []string{"1", "2", "own"}},
		{"the origin is gone", side, side, []dot.Commit{first, third, fourth, own}, []string{"1", "own"}},
		{"the origin is on its way out", side, side, []dot.Commit{first, going, third, fourth, own}, []string{"1", "own"}},
		{"the same, written down without a place", nameless, nameless, []dot.Commit{first, going, third, fourth, own}, []string{"1", "own"}},
		{"two branches, both origins gone", leaf, side, []dot.Commit{first, third, fourth, last}, []string{"1", "last"}},
	} {
		var records []store.Record[dot.Commit]
		for _, commit := range c.commits {
			records = append(records, store.Record[dot.Commit]{Value: commit})
		}
		byID := map[dot.BranchID]dot.Branch{old.ID: old, side.ID: c.side, leaf.ID: leaf}
		var got []string
		for _, commit := range history(c.of, byID, records) {
			got = append(got, commit.Message)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
}
