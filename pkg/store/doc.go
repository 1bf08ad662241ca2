// Package store is the registry: what the cluster knows of dots, branches,
// commits, volumes and pools, as one small JSON value per thing in etcd.
//
//	cluster                          Cluster     id and incarnation of the registry
//	recovering                       Recovery    a rebuilding from a pool that has not ended
//	dots/<dot>                       dot.Dot
//	names/<namespace>/<name>         dot.ID      unique claim on a name
//	branches/<dot>/<name>            dot.Branch
//	branchids/<branch>               BranchRef   where a branch is found by its id
//	epochs/<branch>                  dot.Epoch   compared by value, whatever else of the branch changed
//	commits/<dot>/<commit>           dot.Commit
//	volumes/<volume>                 dot.Volume
//	intents/<hash of name>           Intent      a commit that has begun, by its CSI name or, of dm, its id
//	snapshots/<hash of CSI name>     Snapshot    the commit that a VolumeSnapshot made
//	pools/<pool>                     dot.Pool
//	alive/<pool>                     Instance    leased: who serves the pool now
//	assignments/<pool>/<branch>      Assignment  what one server has to do with; read by nothing yet
//	replicas/<branch>/<pool>         Replica     written by nothing yet
//	deleted/<branch>                 Tombstone   until every pool that had the branch has confirmed
//	users/<name>                     User        written by nothing yet
//	claims/<PVC's UID>               Claim       which assignment of a disk may use the pool on it
//
// What nothing of the product calls yet is of that schema all the same: replicas and
// assignments, with Watch to follow a pool's assignments, are for replication,
// PutUser is for users other than the admin, and who has a lease or has left a
// tombstone can be read.
//
// Everything that changes, changes in a transaction (Txn) that compares what it
// was decided on. Errors are *dot.Error: CodeNotFound for a key that is not
// there, CodeUnavailable when etcd is away or does not answer in time (a
// transaction may then have happened all the same: read again), and ErrConflict
// for a comparison that failed.
//
// A Store is safe for concurrent use. It runs no goroutine of its own except one
// for each Lease and each Watch.
package store
