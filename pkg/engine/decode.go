package engine

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// decoder reads local properties and keeps the first error.
type decoder struct {
	values zfs.Values
	err    error
}

func (d *decoder) get(p zfs.Property) (string, bool) {
	value, local := d.values.Local(p)
	return value, local && d.err == nil
}

func (d *decoder) fail(p zfs.Property, err error) {
	if err != nil && d.err == nil {
		d.err = dot.Invalid("property %s: %w", p, err)
	}
}

func (d *decoder) text(p zfs.Property) string {
	value, ok := d.get(p)
	if !ok {
		return ""
	}
	s, err := decodeText(value)
	d.fail(p, err)
	return s
}

func (d *decoder) flag(p zfs.Property) bool {
	value, _ := d.get(p)
	return value == on
}

func (d *decoder) json(p zfs.Property, into any) {
	if value, ok := d.get(p); ok {
		d.fail(p, json.Unmarshal([]byte(value), into))
	}
}

func (d *decoder) time(p zfs.Property) time.Time { return decodeAs(d, p, parseTime) }

func parseTime(s string) (time.Time, error) { return time.Parse(time.RFC3339Nano, s) }

func parseUint(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }

// decodeAs parses a property that may be missing: then it is T's zero.
func decodeAs[T any](d *decoder, p zfs.Property, parse func(string) (T, error)) T {
	var none T
	value, ok := d.get(p)
	if !ok {
		return none
	}
	v, err := parse(value)
	if err != nil {
		d.fail(p, err)
		return none
	}
	return v
}

// required is decodeAs for what everything of ours has.
func required[T any](d *decoder, p zfs.Property, parse func(string) (T, error)) T {
	if _, ok := d.values.Local(p); !ok {
		d.fail(p, dot.NotFound("not set"))
	}
	return decodeAs(d, p, parse)
}

// isOurs tells whether an item says anything of ours.
func isOurs(values zfs.Values) bool {
	for p, v := range values {
		if v.Source == zfs.SourceLocal && strings.HasPrefix(string(p), prefix) {
			return true
		}
	}
	return false
}

// decodeBranch reads what a branch's dataset says. What exists on a pool is
// ready, whatever the registry thought of it.
func decodeBranch(values zfs.Values) (dot.Dot, dot.Branch, []dot.Volume, error) {
	d := &decoder{values: values}
	b := dot.Branch{
		ID:       required(d, propBranch, dot.ParseBranchID),
		Dot:      required(d, propDot, dot.ParseID),
		Name:     required(d, propBranchName, dot.ParseBranchName),
		State:    dot.Ready,
		Origin:   decodeAs(d, propOrigin, parseOrigin),
		Master:   decodeAs(d, propMaster, dot.ParsePoolID),
		Epoch:    required(d, propEpoch, dot.ParseEpoch),
		ReadOnly: d.flag(propReadOnly),
		Hidden:   d.flag(propHidden),
		Created:  d.time(propCreated),
	}
	if b.Origin != nil {
		b.Origin.Sequence = decodeAs(d, propOriginAt, parseUint)
	}
	owner := decodeDot(d)
	volumes := decodeVolumes(d, b)
	return owner, b, volumes, d.err
}

func decodeDot(d *decoder) dot.Dot {
	var shares storedShares
	var settings storedSettings
	d.json(propShares, &shares)
	d.json(propSettings, &settings)
	madeBy, _ := d.get(propMadeBy)
	return dot.Dot{
		ID: required(d, propDot, dot.ParseID),
		FullName: dot.FullName{
			Namespace: required(d, propNamespace, dot.ParseNamespace),
			Name:      required(d, propName, dot.ParseName),
		},
		State:     dot.Ready,
		MadeByPVC: madeBy == madeByPVC,
		Owner:     d.text(propOwner),
		Shares:    dot.Shares{All: shares.All, Namespaces: shares.Namespaces},
		Settings:  dot.Settings{Compression: settings.Compression, RecordSize: settings.RecordSize},
		Subdots:   decodeSubdots(d),
		Released:  d.flag(propReleased),
		Created:   d.time(propDotCreated),
	}
}

func decodeSubdots(d *decoder) map[dot.Subdot]dot.SubdotRecord {
	var subdots map[dot.Subdot]dot.SubdotRecord
	for _, p := range slices.Sorted(maps.Keys(d.values)) {
		digits, found := strings.CutPrefix(string(p), propSubdotPrefix)
		if !found {
			continue
		}
		project, err := strconv.ParseUint(digits, 10, 32)
		d.fail(p, err)
		var stored storedSubdot
		d.json(p, &stored)
		if stored.Name.IsZero() {
			continue
		}
		if subdots == nil {
			subdots = map[dot.Subdot]dot.SubdotRecord{}
		}
		subdots[stored.Name] = dot.SubdotRecord{ProjectID: uint32(project), MadeByClaim: stored.MadeByClaim}
	}
	return subdots
}

func decodeVolumes(d *decoder, b dot.Branch) []dot.Volume {
	var volumes []dot.Volume
	for _, p := range slices.Sorted(maps.Keys(d.values)) {
		name, found := strings.CutPrefix(string(p), propVolumePrefix)
		if _, local := d.values.Local(p); !found || !local {
			continue
		}
		id, err := dot.ParseVolumeID(name)
		d.fail(p, err)
		var s storedVolume
		d.json(p, &s)
		v := dot.Volume{
			ID: id, CSIName: s.CSIName, State: dot.Ready, Dot: b.Dot, Branch: b.ID, Subdot: s.Subdot,
			SizeBytes: s.SizeBytes, KubernetesNamespace: s.KubernetesNamespace, PVCName: s.PVCName,
			ReadOnly: s.ReadOnly, SourceVolume: s.SourceVolume, NewDot: s.NewDot, Created: s.Created,
		}
		if s.Source != "" {
			source, err := dot.ParseSnapshotHandle(s.Source)
			d.fail(p, err)
			v.Source = &source
		}
		volumes = append(volumes, v)
	}
	return volumes
}

// decodeCommit reads what a snapshot says. name is the part after the "@".
func decodeCommit(name string, guid zfs.GUID, values zfs.Values) (c dot.Commit, deleted bool, err error) {
	d := &decoder{values: values}
	id, err := dot.ParseCommitID(name)
	if err != nil {
		return dot.Commit{}, false, err
	}
	s := required(d, propCommit, parseStoredCommit)
	c = dot.Commit{
		ID: id, Dot: s.Dot, Branch: s.Branch, Epoch: s.Epoch, GUID: uint64(guid), Sequence: s.Sequence, Parent: s.Parent,
		Author: s.Author, Message: d.text(propMessage), Time: s.Time, CSIName: s.CSIName,
		Volume: s.Volume, Subdot: s.Subdot, SizeBytes: s.SizeBytes,
	}
	d.json(propMetadata, &c.Metadata)
	d.json(propTags, &c.Tags)
	return c, d.flag(propDeleted), d.err
}

func parseStoredCommit(value string) (storedCommit, error) {
	var s storedCommit
	if err := json.Unmarshal([]byte(value), &s); err != nil {
		return s, err
	}
	if s.Dot.IsZero() || s.Branch.IsZero() {
		return s, dot.Invalid("it names no dot or no branch")
	}
	return s, nil
}

func parseOrigin(s string) (*dot.Origin, error) {
	branch, commit, _ := strings.Cut(s, "/")
	b, err := dot.ParseBranchID(branch)
	if err != nil {
		return nil, err
	}
	c, err := dot.ParseCommitID(commit)
	if err != nil {
		return nil, err
	}
	return &dot.Origin{Branch: b, Commit: c}, nil
}
