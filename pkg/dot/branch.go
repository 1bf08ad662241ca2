package dot

import "time"

// Branch is one ZFS filesystem and its history of commits.
type Branch struct {
	ID    BranchID
	Dot   ID
	Name  BranchName
	State State
	// Origin is the commit at which the branch began; nil when it began empty.
	Origin *Origin
	// Master is the pool that holds the head and whose server may write.
	Master PoolID
	Epoch  Epoch
	// ReadOnly heads are never written: volumes restored as ReadOnlyMany.
	ReadOnly bool
	// Hidden branches are out of sight until nothing needs their commits: heads
	// that a reset replaced, and deleted branches whose commits are still used.
	Hidden  bool
	Created time.Time

	Unknown Unknown `json:"-"`
}

// Origin names a commit of another branch.
type Origin struct {
	Branch BranchID
	Commit CommitID
	// Sequence is the commit's place in its branch, which tells what came before it
	// when the commit is gone; 0 where that was not written down.
	Sequence uint64 `json:",omitempty"`
}
