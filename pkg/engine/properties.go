package engine

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// The user properties of datasets and snapshots. Only values whose source is
// local count: a snapshot inherits its dataset's.
const (
	prefix = "io.dotmesh:"

	// ClusterProperty, on the root, says which cluster it belongs to.
	ClusterProperty zfs.Property = prefix + "cluster"
	// Also on the root: the highest incarnation of a registry that it has seen.
	propIncarnation zfs.Property = prefix + "incarnation"

	// On branches, of the dot.
	propDot        zfs.Property = prefix + "dot"
	propNamespace  zfs.Property = prefix + "namespace"
	propName       zfs.Property = prefix + "name"
	propOwner      zfs.Property = prefix + "owner"
	propMadeBy     zfs.Property = prefix + "made-by"
	propShares     zfs.Property = prefix + "shares"
	propSettings   zfs.Property = prefix + "settings"
	propReleased   zfs.Property = prefix + "released"
	propDotCreated zfs.Property = prefix + "dot-created"
	// io.dotmesh:subdot.<project id>, one for each directory. A single property
	// would limit a dot to some eighty of them.
	propSubdotPrefix = prefix + "subdot."

	// On branches.
	propBranch     zfs.Property = prefix + "branch"
	propBranchName zfs.Property = prefix + "branch-name"
	propEpoch      zfs.Property = prefix + "epoch"
	propMaster     zfs.Property = prefix + "master"
	propOrigin     zfs.Property = prefix + "origin"
	propOriginAt   zfs.Property = prefix + "origin-sequence"
	propReadOnly   zfs.Property = prefix + "read-only"
	propHidden     zfs.Property = prefix + "hidden"
	propCreated    zfs.Property = prefix + "created"
	// io.dotmesh:volume.<volume id>, one for each claim.
	propVolumePrefix = prefix + "volume."

	// On commits. What is set with the snapshot and never changes is one property:
	// each takes a call of its own in the program that takes the snapshot, some
	// milliseconds, and a line of every listing.
	propCommit   zfs.Property = prefix + "commit"
	propMessage  zfs.Property = prefix + "message"
	propMetadata zfs.Property = prefix + "metadata"
	propTags     zfs.Property = prefix + "tags"
	propDeleted  zfs.Property = prefix + "deleted"
)

const (
	on, off        = "on", "off"
	madeByPVC      = "pvc"
	madeByDM       = "dm"
	syncPrefix     = "sync-" // hidden replication points
	unsetInListing = "-"     // how zfs-get(8) prints a property that has no value
)

// encoder gathers properties and keeps the first refusal.
type encoder struct {
	props zfs.Props
	err   error
}

// put leaves out empty values: ZFS would keep them, and nothing tells them from
// unset ones.
func (e *encoder) put(p zfs.Property, value string) {
	if value == "" || e.err != nil {
		return
	}
	if len(value) > dot.MaxProperty {
		what := strings.TrimPrefix(string(p), prefix)
		e.err = dot.Invalid("%s takes %d bytes as it is stored and at most %d fit: make it shorter, or keep large values in a file of the dot", what, len(value), dot.MaxProperty)
		return
	}
	e.props[p] = value
}

func (e *encoder) text(p zfs.Property, s string) {
	value, err := encodeText(s)
	if err != nil && e.err == nil {
		e.err = dot.Invalid("%s: %w", strings.TrimPrefix(string(p), prefix), err)
	}
	e.put(p, value)
}

// valid refuses text that JSON would change.
func (e *encoder) valid(what, s string) {
	if !utf8.ValidString(s) && e.err == nil {
		e.err = dot.Invalid("%s: text must be valid UTF-8", what)
	}
}

func (e *encoder) json(p zfs.Property, v any) {
	value, err := encodeJSON(v)
	if err != nil && e.err == nil {
		e.err = dot.Invalid("%s: %w", strings.TrimPrefix(string(p), prefix), err)
	}
	e.put(p, value)
}

func (e *encoder) time(p zfs.Property, t time.Time) {
	if !t.IsZero() {
		e.put(p, t.UTC().Format(time.RFC3339Nano))
	}
}

func (e *encoder) flag(p zfs.Property, set bool) {
	if set {
		e.put(p, on)
		return
	}
	e.put(p, off)
}

// encodeText keeps text as it is where zfs-get(8) prints it unambiguously, so
// that people can read it and it takes no more room than it has; other text
// becomes a JSON string.
func encodeText(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", dot.Invalid("text must be valid UTF-8")
	}
	plain := s != unsetInListing && !strings.HasPrefix(s, `"`) && strings.TrimSpace(s) == s
	for i := range len(s) {
		plain = plain && s[i] >= 0x20 && s[i] != 0x7f
	}
	if plain {
		return s, nil
	}
	return encodeJSON(s)
}

func decodeText(value string) (string, error) {
	if !strings.HasPrefix(value, `"`) {
		return value, nil
	}
	var s string
	if err := json.Unmarshal([]byte(value), &s); err != nil {
		return "", dot.Invalid("text %.40q: %w", value, err)
	}
	return s, nil
}

// encodeJSON gives JSON without control characters: the encoder escapes all but
// DEL, which occurs in strings only.
func encodeJSON(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\x7f", `\u007f`), nil
}

// Forms of the values that are JSON. They are what docs/on-disk-format.md
// describes: fields may be added, never changed.
type (
	storedShares struct {
		All        bool     `json:"all,omitempty"`
		Namespaces []string `json:"namespaces,omitempty"`
	}
	storedSettings struct {
		Compression dot.Compression `json:"compression,omitzero"`
		RecordSize  dot.RecordSize  `json:"recordSize,omitempty"`
	}
	storedSubdot struct {
		Name        dot.Subdot `json:"name"`
		MadeByClaim bool       `json:"madeByClaim,omitempty"`
	}
	storedVolume struct {
		CSIName             string       `json:"csiName,omitempty"`
		Subdot              dot.Subdot   `json:"subdot"`
		ProjectID           uint32       `json:"project,omitempty"`
		SizeBytes           int64        `json:"size,omitempty"`
		KubernetesNamespace string       `json:"namespace,omitempty"`
		PVCName             string       `json:"pvc,omitempty"`
		ReadOnly            bool         `json:"readOnly,omitempty"`
		Source              string       `json:"source,omitempty"`
		SourceVolume        dot.VolumeID `json:"sourceVolume,omitzero"`
		NewDot              bool         `json:"newDot,omitempty"`
		Created             time.Time    `json:"created,omitzero"`
	}
	storedCommit struct {
		Dot       dot.ID       `json:"dot"`
		Branch    dot.BranchID `json:"branch"`
		Epoch     dot.Epoch    `json:"epoch,omitzero"`
		Sequence  uint64       `json:"sequence"`
		Parent    dot.CommitID `json:"parent,omitzero"`
		Author    string       `json:"author,omitempty"`
		Time      time.Time    `json:"time,omitzero"`
		CSIName   string       `json:"csiName,omitempty"`
		Volume    dot.VolumeID `json:"volume,omitzero"`
		Subdot    dot.Subdot   `json:"subdot,omitzero"`
		SizeBytes int64        `json:"size,omitempty"`
	}
)

// encodeDot gives what a branch's dataset says of its dot.
func encodeDot(d dot.Dot) (zfs.Props, error) {
	e := encoder{props: zfs.Props{}}
	e.put(propDot, d.ID.String())
	e.put(propNamespace, d.FullName.Namespace.String())
	e.put(propName, d.FullName.Name.String())
	e.text(propOwner, d.Owner)
	madeBy := madeByDM
	if d.MadeByPVC {
		madeBy = madeByPVC
	}
	e.put(propMadeBy, madeBy)
	e.json(propShares, storedShares{d.Shares.All, d.Shares.Namespaces})
	e.json(propSettings, storedSettings{d.Settings.Compression, d.Settings.RecordSize})
	e.flag(propReleased, d.Released)
	e.time(propDotCreated, d.Created)
	for name, rec := range d.Subdots {
		e.json(subdotProperty(rec), storedSubdot{name, rec.MadeByClaim})
	}
	return e.props, e.err
}

func subdotProperty(rec dot.SubdotRecord) zfs.Property {
	return zfs.Property(propSubdotPrefix + strconv.FormatUint(uint64(rec.ProjectID), 10))
}

// encodeBranch gives what a branch's dataset says of the branch.
func encodeBranch(b dot.Branch) (zfs.Props, error) {
	e := encoder{props: zfs.Props{}}
	e.put(propBranch, b.ID.String())
	e.put(propDot, b.Dot.String())
	e.put(propBranchName, b.Name.String())
	e.put(propEpoch, b.Epoch.String())
	e.put(propMaster, b.Master.String())
	if b.Origin != nil {
		e.put(propOrigin, b.Origin.Branch.String()+"/"+b.Origin.Commit.String())
		// A property of its own, because older servers read the other as a whole.
		if b.Origin.Sequence > 0 {
			e.put(propOriginAt, strconv.FormatUint(b.Origin.Sequence, 10))
		}
	}
	e.flag(propReadOnly, b.ReadOnly)
	e.flag(propHidden, b.Hidden)
	e.time(propCreated, b.Created)
	return e.props, e.err
}

// encodeVolume gives a claim and its subdot.
func encodeVolume(v dot.Volume, rec dot.SubdotRecord) (zfs.Props, error) {
	stored := storedVolume{
		CSIName: v.CSIName, Subdot: v.Subdot, ProjectID: rec.ProjectID, SizeBytes: v.SizeBytes,
		KubernetesNamespace: v.KubernetesNamespace, PVCName: v.PVCName, ReadOnly: v.ReadOnly,
		SourceVolume: v.SourceVolume, NewDot: v.NewDot, Created: v.Created.UTC(),
	}
	if v.Source != nil {
		stored.Source = v.Source.String()
	}
	e := encoder{props: zfs.Props{}}
	e.json(volumeProperty(v.ID), stored)
	e.json(subdotProperty(rec), storedSubdot{v.Subdot, rec.MadeByClaim})
	return e.props, e.err
}

func volumeProperty(id dot.VolumeID) zfs.Property {
	return zfs.Property(propVolumePrefix + id.String())
}

// encodeCommit gives what a snapshot says of its commit.
func encodeCommit(c dot.Commit) (zfs.Props, error) {
	e := encoder{props: zfs.Props{}}
	e.valid("author", c.Author)
	e.valid("csi-name", c.CSIName)
	e.json(propCommit, storedCommit{
		Dot: c.Dot, Branch: c.Branch, Epoch: c.Epoch, Sequence: c.Sequence, Parent: c.Parent, Author: c.Author,
		Time: c.Time.UTC(), CSIName: c.CSIName, Volume: c.Volume, Subdot: c.Subdot, SizeBytes: c.SizeBytes,
	})
	e.text(propMessage, c.Message)
	if len(c.Metadata) > 0 {
		e.json(propMetadata, c.Metadata)
	}
	if len(c.Tags) > 0 {
		e.json(propTags, c.Tags)
	}
	return e.props, e.err
}

// commitProperties are what a listing must read of a snapshot: all that
// decodeCommit looks at.
func commitProperties() []zfs.Property {
	return []zfs.Property{propCommit, propMessage, propMetadata, propTags, propDeleted}
}

// CheckCommit refuses, with CodeInvalid, what does not fit the properties of a
// snapshot. Commit does it too.
func CheckCommit(c dot.Commit) error {
	if err := c.Metadata.Check(); err != nil {
		return err
	}
	_, err := encodeCommit(c)
	return err
}
