package dot

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"
)

// Commit is one ZFS snapshot with what its author said of it.
type Commit struct {
	ID     CommitID
	Dot    ID
	Branch BranchID
	// Epoch is the branch's when the commit was made; the zero one of a commit that
	// does not tell.
	Epoch Epoch
	// GUID is the snapshot's ZFS GUID: what proves that two copies are the same.
	GUID uint64
	// Sequence counts a branch's commits from 1.
	Sequence uint64
	Author   string
	Message  string
	Time     time.Time
	Metadata Metadata
	// Parent is the commit before this one, none for a branch's first.
	Parent CommitID
	// CSIName is the name that CreateSnapshot gave, "" when no VolumeSnapshot
	// made the commit.
	CSIName string
	// Volume is the volume whose VolumeSnapshot made the commit.
	Volume VolumeID
	// Subdot is what a restore of the VolumeSnapshot shows unless it asks for
	// another.
	Subdot Subdot
	// SizeBytes is what a restored volume needs at least: the size of the
	// volume that was snapshotted, 0 when unknown.
	SizeBytes int64
	Tags      []string
	// Deleting commits are out of sight: their snapshot goes as soon as it can.
	Deleting bool

	Unknown Unknown `json:"-"`
}

// Metadata are a commit's key/value pairs.
type Metadata map[string]string

// MaxProperty is the most bytes that a ZFS user property holds (zfsprops(7),
// "User Properties": 8192 with the final NUL).
const MaxProperty = 8191

var metadataKey = regexp.MustCompile(`^[a-z][A-Za-z0-9._/-]{0,127}$`)

// Check refuses keys outside the grammar that dotmesh always had (they start in
// lower case), values that are no text, and sets that do not fit the one property that
// keeps them.
func (m Metadata) Check() error {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !metadataKey.MatchString(k) {
			return Invalid("metadata key %q is not valid: start with a lower-case letter, then up to 127 letters, digits, \".\", \"_\", \"/\" or \"-\"", clip(k))
		}
		if !utf8.ValidString(m[k]) {
			return Invalid("the value of metadata key %q is not UTF-8", k)
		}
	}
	encoded, err := json.Marshal(m)
	if err != nil {
		return Invalid("metadata: %w", err)
	}
	if len(encoded) > MaxProperty {
		return Invalid("metadata takes %d bytes as JSON and a commit holds at most %d: keep large values in a file of the dot", len(encoded), MaxProperty)
	}
	return nil
}

// CheckMessage refuses a message that is no text, or does not fit its property.
func CheckMessage(message string) error {
	if !utf8.ValidString(message) {
		return Invalid("the message is not UTF-8")
	}
	if len(message) > MaxProperty {
		return Invalid("the message has %d bytes and a commit holds at most %d", len(message), MaxProperty)
	}
	return nil
}
