package dot

import (
	"crypto/sha256"
	"regexp"
	"strconv"

	"github.com/google/uuid"
)

// ID identifies a dot for its whole life; a UUID. Renaming keeps it.
type ID struct{ text }

// BranchID names a branch's dataset on every pool; a UUID.
type BranchID struct{ text }

// CommitID names a commit's snapshot, the same on every node and cluster. Ours
// are UUIDs; ones that a user chose follow the grammar of names.
type CommitID struct{ text }

// VolumeID identifies a claim on a subdot; a UUID, derived from the CSI name so
// that a retry meets the same volume.
type VolumeID struct{ text }

// PoolID is the GUID of a server's root dataset as decimal digits: a server's
// identity, whatever its pool is called.
type PoolID struct{ text }

// ClaimID is the UID of the PersistentVolumeClaim that a pool lies on; a UUID.
type ClaimID struct{ text }

var (
	uuidGrammar = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	guidGrammar = regexp.MustCompile(`^[1-9][0-9]{0,19}$`)
)

// NewID makes a random dot id.
func NewID() ID { return ID{text{uuid.NewString()}} }

// NewBranchID makes a random branch id.
func NewBranchID() BranchID { return BranchID{text{uuid.NewString()}} }

// NewCommitID makes a random commit id.
func NewCommitID() CommitID { return CommitID{text{uuid.NewString()}} }

// VolumeIDOf derives a volume's id from its CSI name, which may be any Unicode
// of up to 128 bytes (CSI spec, "Size Limits").
func VolumeIDOf(csiName string) VolumeID { return VolumeID{text{derived("volume", csiName)}} }

// BranchIDOf derives the id of the branch that a volume's creation makes, so
// that a retry after a crash finds the dataset it began.
func BranchIDOf(v VolumeID) BranchID { return BranchID{text{derived("branch", v.s)}} }

// IDOf derives the id of the dot that a volume's creation makes.
func IDOf(v VolumeID) ID { return ID{text{derived("dot", v.s)}} }

// derived hashes name into a UUID (RFC 9562, version 8) within a space.
func derived(space, name string) string {
	sum := sha256.Sum256([]byte("dotmesh.csi/" + space + "/" + name))
	var u uuid.UUID
	copy(u[:], sum[:16])
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return u.String()
}

// ParseID accepts a UUID in lower case.
func ParseID(s string) (ID, error) {
	t, err := parseUUID("dot id", s)
	return ID{t}, err
}

// ParseBranchID accepts a UUID in lower case.
func ParseBranchID(s string) (BranchID, error) {
	t, err := parseUUID("branch id", s)
	return BranchID{t}, err
}

// ParseVolumeID accepts a UUID in lower case.
func ParseVolumeID(s string) (VolumeID, error) {
	t, err := parseUUID("volume id", s)
	return VolumeID{t}, err
}

// ParseCommitID accepts a UUID, or 1 to 64 of the characters of a name.
func ParseCommitID(s string) (CommitID, error) {
	t, err := parseName("commit id", s)
	return CommitID{t}, err
}

// ParsePoolID accepts a 64-bit GUID in decimal.
func ParsePoolID(s string) (PoolID, error) {
	if !guidGrammar.MatchString(s) {
		return PoolID{}, Invalid("pool id %q is not a 64-bit GUID in decimal", s)
	}
	if _, err := strconv.ParseUint(s, 10, 64); err != nil {
		return PoolID{}, Invalid("pool id %q is not a 64-bit GUID in decimal", s)
	}
	return PoolID{text{s}}, nil
}

// ParseClaimID accepts a UUID in lower case.
func ParseClaimID(s string) (ClaimID, error) {
	t, err := parseUUID("UID of a PersistentVolumeClaim", s)
	return ClaimID{t}, err
}

// PoolIDOf makes a pool id of the GUID of a root dataset.
func PoolIDOf(guid uint64) PoolID { return PoolID{text{strconv.FormatUint(guid, 10)}} }

func parseUUID(what, s string) (text, error) {
	if !uuidGrammar.MatchString(s) {
		return text{}, Invalid("%s %q is not a UUID", what, clip(s))
	}
	return text{s}, nil
}

func clip(s string) string {
	if len(s) > maxName {
		return s[:maxName] + "…"
	}
	return s
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *ID) UnmarshalText(b []byte) error { return unmarshal(i, b, ParseID) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *BranchID) UnmarshalText(b []byte) error { return unmarshal(i, b, ParseBranchID) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *CommitID) UnmarshalText(b []byte) error { return unmarshal(i, b, ParseCommitID) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *VolumeID) UnmarshalText(b []byte) error { return unmarshal(i, b, ParseVolumeID) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *PoolID) UnmarshalText(b []byte) error { return unmarshal(i, b, ParsePoolID) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *ClaimID) UnmarshalText(b []byte) error { return unmarshal(i, b, ParseClaimID) }
