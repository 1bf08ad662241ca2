package store

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// Kind is the first part of a key: what sort of thing it holds.
type Kind string

// The kinds of keys; the package comment tells what each holds.
const (
	KindCluster     Kind = "cluster"
	KindRecovering  Kind = "recovering"
	KindDots        Kind = "dots"
	KindNames       Kind = "names"
	KindBranches    Kind = "branches"
	KindBranchIDs   Kind = "branchids"
	KindEpochs      Kind = "epochs"
	KindCommits     Kind = "commits"
	KindVolumes     Kind = "volumes"
	KindIntents     Kind = "intents"
	KindSnapshots   Kind = "snapshots"
	KindPools       Kind = "pools"
	KindAlive       Kind = "alive"
	KindAssignments Kind = "assignments"
	KindReplicas    Kind = "replicas"
	KindDeleted     Kind = "deleted"
	KindUsers       Kind = "users"
	KindClaims      Kind = "claims"
)

// Key names one value, relative to the store's prefix. It can only be made by
// the functions below, so its parts are valid. Keys are comparable.
type Key struct {
	kind          Kind
	first, second string
}

// ClusterKey is the one key of the registry itself.
func ClusterKey() Key { return Key{kind: KindCluster} }

// RecoveringKey is there while the registry is being rebuilt from a pool.
func RecoveringKey() Key { return Key{kind: KindRecovering} }

// DotKey holds a dot.
func DotKey(id dot.ID) Key { return Key{KindDots, id.String(), ""} }

// NameKey holds the id of the dot that has a name.
func NameKey(n dot.FullName) Key { return Key{KindNames, n.Namespace.String(), n.Name.String()} }

// BranchKey holds a branch.
func BranchKey(id dot.ID, name dot.BranchName) Key {
	return Key{KindBranches, id.String(), name.String()}
}

// BranchIDKey tells which dot and name a branch has.
func BranchIDKey(id dot.BranchID) Key { return Key{KindBranchIDs, id.String(), ""} }

// EpochKey holds a branch's epoch alone.
func EpochKey(id dot.BranchID) Key { return Key{KindEpochs, id.String(), ""} }

// CommitKey holds a commit.
func CommitKey(id dot.ID, commit dot.CommitID) Key {
	return Key{KindCommits, id.String(), commit.String()}
}

// VolumeKey holds a volume.
func VolumeKey(id dot.VolumeID) Key { return Key{KindVolumes, id.String(), ""} }

// IntentKey holds a commit that has begun: CreateSnapshot's under the CSI name, dm's
// under a name that the server makes of the commit's id.
func IntentKey(name string) Key { return Key{KindIntents, hashOf(name), ""} }

// SnapshotKey holds what CreateSnapshot of a CSI name has made.
func SnapshotKey(csiName string) Key { return Key{KindSnapshots, hashOf(csiName), ""} }

// PoolKey holds a pool.
func PoolKey(id dot.PoolID) Key { return Key{KindPools, id.String(), ""} }

// AliveKey exists while a server holds the pool's lease.
func AliveKey(id dot.PoolID) Key { return Key{KindAlive, id.String(), ""} }

// AssignmentKey tells a pool's server of a branch that it has to do with.
func AssignmentKey(pool dot.PoolID, branch dot.BranchID) Key {
	return Key{KindAssignments, pool.String(), branch.String()}
}

// ReplicaKey holds what is known of a pool's copy of a branch.
func ReplicaKey(branch dot.BranchID, pool dot.PoolID) Key {
	return Key{KindReplicas, branch.String(), pool.String()}
}

// DeletedKey holds a branch's tombstone.
func DeletedKey(id dot.BranchID) Key { return Key{KindDeleted, id.String(), ""} }

// UserKey holds a user; users are named like namespaces, because each has one.
func UserKey(name dot.Namespace) Key { return Key{KindUsers, name.String(), ""} }

// ClaimKey holds what is known of a disk that pools lie on.
func ClaimKey(id dot.ClaimID) Key { return Key{KindClaims, id.String(), ""} }

// hashOf makes a key's part of a CSI name, which may be any Unicode.
func hashOf(csiName string) string {
	sum := sha256.Sum256([]byte(csiName))
	return hex.EncodeToString(sum[:])
}

var hashGrammar = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ParseKey reads what String wrote, and refuses keys that are not of the schema.
func ParseKey(s string) (Key, error) {
	parts := strings.Split(s, "/")
	k := Key{kind: Kind(parts[0])}
	want := k.kind.parts()
	if len(want) != len(parts)-1 || want == nil {
		return Key{}, dot.Invalid("registry key %q is not of the schema", s)
	}
	for i, valid := range want {
		if !valid(parts[i+1]) {
			return Key{}, dot.Invalid("registry key %q is not of the schema: %q", s, parts[i+1])
		}
	}
	switch len(want) {
	case 2:
		k.first, k.second = parts[1], parts[2]
	case 1:
		k.first = parts[1]
	}
	return k, nil
}

// parts gives a check for each part behind the kind, nil for no kind of ours.
func (k Kind) parts() []func(string) bool {
	id, branch, pool := parses(dot.ParseID), parses(dot.ParseBranchID), parses(dot.ParsePoolID)
	switch k {
	case KindCluster, KindRecovering:
		return []func(string) bool{}
	case KindDots:
		return []func(string) bool{id}
	case KindNames:
		return []func(string) bool{parses(dot.ParseNamespace), parses(dot.ParseName)}
	case KindBranches:
		return []func(string) bool{id, parses(dot.ParseBranchName)}
	case KindBranchIDs, KindEpochs, KindDeleted:
		return []func(string) bool{branch}
	case KindCommits:
		return []func(string) bool{id, parses(dot.ParseCommitID)}
	case KindVolumes:
		return []func(string) bool{parses(dot.ParseVolumeID)}
	case KindIntents, KindSnapshots:
		return []func(string) bool{hashGrammar.MatchString}
	case KindPools, KindAlive:
		return []func(string) bool{pool}
	case KindAssignments:
		return []func(string) bool{pool, branch}
	case KindReplicas:
		return []func(string) bool{branch, pool}
	case KindUsers:
		return []func(string) bool{parses(dot.ParseNamespace)}
	case KindClaims:
		return []func(string) bool{parses(dot.ParseClaimID)}
	}
	return nil
}

func parses[T any](parse func(string) (T, error)) func(string) bool {
	return func(s string) bool {
		_, err := parse(s)
		return err == nil
	}
}

// String gives the key without the store's prefix.
func (k Key) String() string {
	switch {
	case k.second != "":
		return string(k.kind) + "/" + k.first + "/" + k.second
	case k.first != "":
		return string(k.kind) + "/" + k.first
	}
	return string(k.kind)
}

// BranchID gives the branch of a branchids, epochs, deleted, replicas or
// assignments key, else none.
func (k Key) BranchID() dot.BranchID {
	switch k.kind {
	case KindBranchIDs, KindEpochs, KindDeleted, KindReplicas:
		return parsed(dot.ParseBranchID(k.first))
	case KindAssignments:
		return parsed(dot.ParseBranchID(k.second))
	}
	return dot.BranchID{}
}

// FullName gives the dot's name of a names key, else none.
func (k Key) FullName() dot.FullName {
	if k.kind != KindNames {
		return dot.FullName{}
	}
	return dot.FullName{Namespace: parsed(dot.ParseNamespace(k.first)), Name: parsed(dot.ParseName(k.second))}
}

// Pool gives the pool of a pools, alive, assignments or replicas key, else none.
func (k Key) Pool() dot.PoolID {
	switch k.kind {
	case KindPools, KindAlive, KindAssignments:
		return parsed(dot.ParsePoolID(k.first))
	case KindReplicas:
		return parsed(dot.ParsePoolID(k.second))
	}
	return dot.PoolID{}
}

// parsed takes a part that was checked when the key was made.
func parsed[T any](v T, _ error) T { return v }

// Prefix names the keys that begin alike.
type Prefix struct{ path string }

// Of is every key of a kind.
func Of(k Kind) Prefix { return Prefix{string(k) + "/"} }

// BranchesOf is every branch of a dot.
func BranchesOf(id dot.ID) Prefix { return Prefix{string(KindBranches) + "/" + id.String() + "/"} }

// CommitsOf is every commit of a dot.
func CommitsOf(id dot.ID) Prefix { return Prefix{string(KindCommits) + "/" + id.String() + "/"} }

// AssignmentsOf is everything that a pool's server has to do with.
func AssignmentsOf(id dot.PoolID) Prefix {
	return Prefix{string(KindAssignments) + "/" + id.String() + "/"}
}

// ReplicasOf is every copy of a branch.
func ReplicasOf(id dot.BranchID) Prefix {
	return Prefix{string(KindReplicas) + "/" + id.String() + "/"}
}

// String gives the prefix without the store's own.
func (p Prefix) String() string { return p.path }
